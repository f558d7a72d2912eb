// Weights as CSV and NPY, and records as an HTML file of its own.

/** Some maps over the same axes, each with a name. */
export interface Table {
  maps: { name: string; weights: Float32Array }[];
  queries: string[];
  keys: string[];
}

/** A label as it may stand in a spreadsheet: quoted where it must be, and never a formula. */
function field(label: string): string {
  const text = /^[=+\-@\t\r]/.test(label) ? `'${label}` : label;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows of texts. */
export function csvOf(rows: string[][]): Blob {
  return new Blob(rows.map((row) => `${row.map(field).join()}\r\n`), { type: "text/csv" });
}

/** One row a query, below the keys; the queries of several maps below each other, named in a first column. */
export function csv({ maps, queries, keys }: Table): Blob {
  const several = maps.length > 1;
  const corner = several ? "map,query" : "query";
  const lines = [`${[corner, ...keys.map(field)].join()}\r\n`];
  for (const { name, weights } of maps) {
    queries.forEach((query, row) => {
      const cells = Array.from(weights.subarray(row * keys.length, (row + 1) * keys.length), shortest);
      lines.push(`${[...(several ? [field(name)] : []), field(query), ...cells].join()}\r\n`);
    });
  }
  return new Blob(lines, { type: "text/csv" });
}

/** Nine digits give back every float32. */
function shortest(weight: number): string {
  return String(Number(weight.toPrecision(9)));
}

/** NumPy's format 1.0 (numpy.lib.format): float32, (queries, keys), and the maps before where they are several. */
export function npy({ maps, queries, keys }: Table): Blob {
  const shape = [...(maps.length > 1 ? [maps.length] : []), queries.length, keys.length].join(", ");
  const about = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`;
  const before = 10; // the magic string, the version and the length of what follows
  const length = Math.ceil((before + about.length + 1) / 64) * 64 - before;
  const head = new Uint8Array(before + length);
  head.set([0x93, ...[..."NUMPY"].map((letter) => letter.charCodeAt(0)), 1, 0, length & 255, length >> 8]);
  head.set(new TextEncoder().encode(`${about.padEnd(length - 1)}\n`), before);
  return new Blob([head, ...maps.map(({ weights }) => weights as Float32Array<ArrayBuffer>)]);
}

/** `{run: {tag: records}}` as source.ts reads them. */
export type Embedded = Record<
  string,
  Record<string, { step: number; wall_time: number | null; parts: string[] }[]>
>;

/** A file that shows records, first those of an address, and asks nobody for anything; so does zoo.plot.html's. */
export function standalone(title: string, held: { runs: Embedded; address: string }, script: string): Blob {
  const nonce = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(18))));
  const policy =
    `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'unsafe-inline'; img-src data:; ` +
    "base-uri 'none'; form-action 'none'";
  const markup = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return new Blob(
    [
      `<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n`,
      `<meta http-equiv="Content-Security-Policy" content="${policy}">\n`,
      `<meta name="viewport" content="width=device-width">\n<title>${markup(title)}</title>\n</head>\n<body>\n`,
      `<script type="application/json" id="attention-records">`,
      JSON.stringify(held).replaceAll("<", "\\u003c"), // no label ends the script
      `</script>\n<script type="module" nonce="${nonce}">${script}</script>\n</body>\n</html>\n`,
    ],
    { type: "text/html" },
  );
}
