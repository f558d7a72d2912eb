"""Forecast a price index with an attention LSTM, and say honestly whether it beats anything.

    python -m training forecast --attention bahdanau --series sp500

trains for a minute or two on two cores, shows its attention in TensorBoard (`tensorboard --logdir logs`), and
prints its scores on the test part beside those of five baselines. Killed, it goes on when typed again.
"""

import hashlib
import os
import platform
import sys
import time

import numpy as np

import data
from training import baselines, table
from training.quiet import keras_without_its_preamble
from training.run_folder import check_writable, claim, run_file, write_json
from training.scores import METRICS, difference, scores
from zoo.errors import InputError
from zoo.preprocess import prepare

# Ends of the training and validation parts; the years after them are the test. Other series: 70, 15, 15 %.
SPLITS = {
    "sp500": ("2014-12-31", "2016-12-31"),
    "nasdaq": ("2014-12-31", "2016-12-31"),
    "wti": ("2014-12-31", "2016-12-31"),
    "sp500_2022": ("2016-12-31", "2018-12-31"),
}
COMPANIONS = {"sp500": ["nasdaq", "wti"], "nasdaq": ["sp500", "wti"]}

NOT_THE_MODEL = ("logdir", "result", "restart", "images", "run", "main", "recipe")
LOGGED_SAMPLES = 4


def add_arguments(parser):
    """The command line of this recipe."""
    source = parser.add_argument_group("prices (one of three)").add_mutually_exclusive_group()
    source.add_argument(
        "--series", help=f"a packaged series: {', '.join(data.series_names())} (default sp500)"
    )
    source.add_argument("--ticker", help="any ticker, through yfinance, as in ^GSPC")
    source.add_argument("--csv", metavar="FILE", help="a CSV or parquet file with a date and a price column")
    parts = parser.add_argument_group("parts of the series")
    parts.add_argument("--start", metavar="DATE", help="first day to use")
    parts.add_argument("--end", metavar="DATE", help="last day to use")
    parts.add_argument("--train-end", metavar="DATE", help="last day of the training part")
    parts.add_argument(
        "--validation-end", metavar="DATE", help="last day of the validation part; the rest is the test"
    )
    parts.add_argument(
        "--companions",
        nargs="*",
        metavar="SERIES",
        help="series whose returns are features too (sp500: nasdaq wti)",
    )
    parts.add_argument(
        "--treat-outliers", action="store_true", help="move outliers of the features to their band"
    )
    model = parser.add_argument_group("model")
    model.add_argument("--attention", choices=("bahdanau", "luong"), default="bahdanau")
    model.add_argument("--score", choices=("dot", "general", "concat"), help="Luong's (default general)")
    alignments = ("global", "local_monotonic", "local_predictive")
    model.add_argument("--alignment", choices=alignments, help="Luong's (default global)")
    model.add_argument("--attention-window", type=int, metavar="D", help="keys p-D..p+D of a local alignment")
    model.add_argument("--window", type=int, default=60, help="days read (default %(default)s)")
    model.add_argument("--horizon", type=int, default=5, help="days forecast (default %(default)s)")
    model.add_argument("--units", type=int, default=32, help="of encoder and decoder (default %(default)s)")
    model.add_argument("--dropout", type=float, default=0.1, help="default %(default)s")
    fit = parser.add_argument_group("training")
    fit.add_argument("--epochs", type=int, default=40, help="at most (default %(default)s)")
    fit.add_argument("--patience", type=int, default=8, help="epochs without a better validation loss")
    fit.add_argument("--batch-size", type=int, default=256, help="default %(default)s")
    fit.add_argument("--learning-rate", type=float, default=3e-4, help="default %(default)s")
    fit.add_argument("--seed", type=int, default=0, help="default %(default)s")
    out = parser.add_argument_group("output")
    out.add_argument("--logdir", default="logs", help="where the run's folder goes (default %(default)s)")
    out.add_argument("--run", help="name of the run's folder (default: made of the choices above)")
    out.add_argument("--result", metavar="FILE", help="write the result file here too")
    out.add_argument("--images", action="store_true", help="log plain image summaries of the attention too")
    out.add_argument("--restart", action="store_true", help="forget an earlier training of this run")
    return parser


def main(arguments):
    """Train, score, print."""
    if not (arguments.series or arguments.ticker or arguments.csv):
        arguments.series = "sp500"
    _check(arguments)
    settings = {name: value for name, value in vars(arguments).items() if name not in NOT_THE_MODEL}
    title = _title(arguments)
    frame, ready = _prices(arguments)
    run = os.path.join(arguments.logdir, arguments.run or _run_name(arguments))
    if arguments.result:
        check_writable(os.path.dirname(os.path.abspath(arguments.result)), "--result")
    keras_without_its_preamble()
    model, control = _model(arguments, ready, arguments.attention), _model(arguments, ready, None)
    claim(run, settings | {"prices": _digest(ready)}, arguments.restart)
    print(f"{title} on {frame.attrs['title']}: {_spans(ready)}; {len(ready.features)} features")
    print(f"run {run}", flush=True)

    began = time.monotonic()
    logger = _attention_logger(ready.validation, frame, ready.scaler, run, arguments.images)
    history = _trained("with attention", model, arguments, ready, run, [logger])
    _trained("without attention", control, arguments, ready, os.path.join(run, "without_attention"), [])
    with run_file(os.path.join(run, "model.keras")) as file:
        model.save(file)

    result = _judged(title, model, control, ready)
    result |= {
        "settings": settings,
        "data": {"spans": _spans(ready), "features": list(ready.features), **frame.attrs},
        "epochs": len(history),
        "seconds": round(time.monotonic() - began),
        "history": history,
        "scaler": ready.scaler.to_dict(),
        "versions": _versions(),
    }
    for path in filter(None, (os.path.join(run, "result.json"), arguments.result)):
        write_json(path, result)
    print(
        f"\nTest part, {result['windows']} windows of {arguments.horizon} days (best bold, 95 % intervals)\n"
    )
    print(table.render(result))
    print(f"\nLook at the attention: tensorboard --logdir {arguments.logdir}")


def _check(arguments):
    """What can be refused before anything is loaded."""
    for name, least in (("epochs", 1), ("patience", 1), ("batch_size", 1), ("seed", 0)):
        value = getattr(arguments, name)
        if not least <= value < 2**32:
            raise InputError(
                f"--{name.replace('_', '-')} is {value}: a whole number of at least {least} is wanted."
            )
    if not 0 < arguments.learning_rate < float("inf"):
        raise InputError(f"--learning-rate is {arguments.learning_rate}: a number above 0 is wanted.")
    for name in ("score", "alignment", "attention_window"):
        if arguments.attention != "luong" and getattr(arguments, name) is not None:
            raise InputError(
                f"--{name.replace('_', '-')} is Luong's: add --attention luong, or leave it out."
            )
    if (arguments.run and os.path.basename(arguments.run) != arguments.run) or arguments.run in (".", ".."):
        raise InputError(
            f"--run is {arguments.run!r}: the name of a folder in --logdir is wanted, not a path."
        )


def _digest(ready):
    """Tells prices from others, so that a training never goes on over prices it did not begin with."""
    digest = hashlib.sha256(ready.index.to_numpy().tobytes())
    for part in (ready.train, ready.validation, ready.test):
        digest.update(np.ascontiguousarray(part.x))
        digest.update(np.ascontiguousarray(part.future_close))
    first, last = ready.index[[0, -1]].strftime("%Y-%m-%d")
    return f"{len(ready.index)} days, {first} to {last}, digest {digest.hexdigest()[:12]}"


def _prices(arguments):
    wanted = {"start": arguments.start, "end": arguments.end}
    frame = data.load(arguments.series, ticker=arguments.ticker, csv=arguments.csv, **wanted)
    companions = (
        COMPANIONS.get(arguments.series, []) if arguments.companions is None else arguments.companions
    )
    train_end, validation_end = arguments.train_end, arguments.validation_end
    if train_end is None and validation_end is None:
        train_end, validation_end = SPLITS.get(arguments.series, (None, None))
    ready = prepare(
        frame,
        window=arguments.window,
        horizon=arguments.horizon,
        train_end=train_end,
        validation_end=validation_end,
        companions={name: data.load(name, **wanted) for name in companions},
        outliers="treat" if arguments.treat_outliers else "flag",
    )
    return frame, ready


def _model(arguments, ready, attention):
    import keras

    from zoo.models import lstm_forecaster

    keras.utils.set_random_seed(arguments.seed)
    luong = {name: getattr(arguments, name) for name in ("score", "alignment", "attention_window")}
    chosen = {name: value for name, value in luong.items() if attention and value is not None}
    try:
        model = lstm_forecaster(
            arguments.window,
            len(ready.features),
            arguments.horizon,
            attention=attention,
            units=arguments.units,
            dropout=arguments.dropout,
            **chosen,
        )
    except ValueError as error:  # a choice of the command line that the layers refuse
        raise InputError(str(error)) from None
    model.compile(keras.optimizers.Adam(arguments.learning_rate, clipnorm=1.0), "mse", metrics=["mae"])
    return model


def _trained(name, model, arguments, ready, run, callbacks):
    """Train to the best weights, going on where an earlier call was stopped; return the history."""
    import keras

    from training.checkpoint import Batches, Checkpoint

    checkpoint = Checkpoint(os.path.join(run, "checkpoint.npz"), arguments.patience)
    checkpoint.restore(model)
    if checkpoint.done:
        print(f"{name}: trained already ({checkpoint.epoch} epochs)", flush=True)
        return checkpoint.history
    print(f"{name}: {model.count_params():,} weights, from epoch {checkpoint.epoch + 1}", flush=True)
    epochs = range(checkpoint.epoch, arguments.epochs)
    batches = Batches(ready.train.x, ready.train.y, arguments.batch_size, arguments.seed, epochs)
    model.fit(
        batches,
        steps_per_epoch=batches.steps,
        shuffle=False,
        validation_data=(np.array(ready.validation.x), np.array(ready.validation.y)),
        initial_epoch=checkpoint.epoch,
        epochs=arguments.epochs,
        callbacks=[keras.callbacks.TensorBoard(run, write_graph=False), *callbacks, checkpoint],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return checkpoint.history


def _attention_logger(samples, frame, scaler, run, images):
    """Logs a few windows of the validation part, with their dates and prices."""
    from zoo import AttentionLogger, Axis

    chosen = np.unique(np.linspace(0, len(samples.x) - 1, LOGGED_SAMPLES).astype(int))
    keys, queries = (
        [list(dates(i).strftime("%Y-%m-%d")) for i in chosen]
        for dates in (samples.key_dates, samples.query_dates)
    )
    close = frame["close"].ffill()
    return AttentionLogger(
        run,
        samples.x[chosen],
        name="validation",
        queries=Axis("time", len(queries[0]), labels=queries),
        keys=Axis("time", len(keys[0]), labels=keys),
        series={f"{frame.attrs['title']} close": [close[samples.key_dates(i)].to_numpy() for i in chosen]},
        target=samples.future_close[chosen],
        forecast=lambda outputs: _as_prices(outputs, samples.last_close[chosen], scaler),
        titles=[f"forecast from {days[-1]}" for days in keys],
        images=images,
    )


def _as_prices(scaled_returns, last, scaler):
    """Prices from the scaled log returns of consecutive days."""
    returns = scaler.inverse(np.asarray(scaled_returns, "float64"), column="log_return")
    return last[:, None] * np.exp(np.cumsum(returns, axis=1))


def _judged(title, model, control, ready):
    """Scores of the model and its baselines on the test part, and the model's difference from each."""
    train, validation, test = ready.train, ready.validation, ready.test
    weekday = ready.index.dayofweek.to_numpy()
    days = np.arange(test.x.shape[1], test.x.shape[1] + test.y.shape[1])
    scaled = {
        title: model.predict(np.array(test.x), verbose=0),
        "LSTM without attention": control.predict(np.array(test.x), verbose=0),
        "linear (ridge, 20 lags)": baselines.linear((train.x, train.y), (validation.x, validation.y), test.x),
        "seasonal (weekday mean)": baselines.seasonal(
            train.y, weekday[train.positions[:, None] + days], weekday[test.positions[:, None] + days]
        ),
        "mean return": baselines.mean(train.y, test.y),
    }
    prices = {name: _as_prices(returns, test.last_close, ready.scaler) for name, returns in scaled.items()}
    prices["last value"] = np.repeat(test.last_close[:, None], test.y.shape[1], axis=1)
    target, last = test.future_close, test.last_close
    return {
        "model": title,
        "windows": len(last),
        "parameters": {title: model.count_params(), "LSTM without attention": control.count_params()},
        "scores": {name: scores(forecast, target, last) for name, forecast in prices.items()},
        "scores_by_step": [
            {name: scores(p[:, [h]], target[:, [h]], last) for name, p in prices.items()}
            for h in range(target.shape[1])
        ],
        "differences": {
            rival: {
                metric: difference(metric, prices[title], prices[rival], target, last)
                for metric in METRICS
                if rival != "last value" or metric in ("mse", "mae", "mape")
            }
            for rival in prices
            if rival != title
        },
    }


def _title(arguments):
    if arguments.attention == "bahdanau":
        return "LSTM + Bahdanau attention"
    return f"LSTM + Luong attention ({arguments.score or 'general'}, {arguments.alignment or 'global'})"


def _run_name(arguments):
    source = arguments.series or arguments.ticker or os.path.splitext(os.path.basename(arguments.csv))[0]
    kind = arguments.attention
    if kind == "luong":
        kind += f"-{arguments.score or 'general'}-{arguments.alignment or 'global'}"
    return f"forecast-{source}-{kind}-seed{arguments.seed}"


def _spans(ready):
    parts = (("train", ready.train), ("validate", ready.validation), ("test", ready.test))
    return ", ".join(
        f"{name} {part.query_dates(0)[0]:%Y-%m-%d} to {part.query_dates(len(part.x) - 1)[-1]:%Y-%m-%d}"
        for name, part in parts
    )


def _versions():
    from importlib.metadata import version

    return {"python": platform.python_version()} | {
        name: version(name) for name in ("keras", "tensorflow", "numpy")
    }
