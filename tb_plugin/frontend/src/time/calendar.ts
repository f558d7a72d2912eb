// Labels that are dates a regular step apart, and what to call a number of steps.

export interface Calendar {
  unit: string;
  size: number; // units in a step
  name(steps: number): string; // "7 days" of 7 steps from label to label
}

const DATE = /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?)?)?Z?$/;
const UNITS: [name: string, seconds: number][] = [
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** Null where a label is no date, or the dates are not evenly apart: business days are steps. */
export function calendarOf(labels: string[]): Calendar | null {
  const parts = labels.map((label) => DATE.exec(label.split(" – ")[0])); // a span counts from its beginning
  if (labels.length < 3 || parts.some((one) => one === null)) return null;
  const months = parts.map((one) => 12 * Number(one![1]) + Number(one![2] ?? 1) - 1);
  const rest = new Set(parts.map((one) => one!.slice(3).join()));
  const month = stepOf(months);
  if (month && rest.size === 1) return named([["year", 12], ["month", 1]], month);
  const seconds = parts.map((one) => {
    const [year, mon, day, hour, minute, second] = one!.slice(1).map((part) => Number(part ?? 0));
    return Date.UTC(year, (mon || 1) - 1, day || 1, hour, minute, second) / 1000;
  });
  const step = stepOf(seconds);
  return step ? named(UNITS, step) : null;
}

function stepOf(times: number[]): number | null {
  const step = times[1] - times[0];
  return step > 0 && times.every((time, index) => index === 0 || time - times[index - 1] === step) ? step : null;
}

function named(units: [string, number][], step: number): Calendar {
  const fits = units.findIndex(([, size]) => step % size === 0);
  const [unit, size] = units[fits];
  const larger = units[fits - 1];
  const text = (count: number, name: string) => `${count} ${name}${count === 1 ? "" : "s"}`;
  return {
    unit,
    size: step / size,
    name(steps) {
      // 48 half hours are 24 hours; 7 days stay days.
      const sum = steps * step;
      const rounder = step !== size && larger !== undefined && sum % larger[1] === 0;
      return rounder ? text(sum / larger[1], larger[0]) : text(sum / size, unit);
    },
  };
}
