"""Runs the benchmark `compare`, and writes tables and a picture of what it found.

`scripts/compare` builds what this runs. With `--raw FILE` it draws what was measured before.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tomllib

import compare_plot
import compare_tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# Half of it is for a server that hangs: seven minutes are what it takes.
FULL = ["--rounds", "3", "--window-ms", "400", "--budget-s", "450"]
QUICK = ["--rounds", "1", "--window-ms", "100"]
# Whatever happens, the whole script is to end within ten minutes.
TIME_LIMIT_S = 520


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, written under target/")
    parser.add_argument("--raw", type=pathlib.Path, help="what was measured before")
    parser.add_argument("--out", type=pathlib.Path, help="a folder to write to instead of results/")
    options = parser.parse_args()

    raw = options.raw or measure(QUICK if options.quick else FULL)
    findings = json.loads(raw.read_text(encoding="utf-8"))
    findings["versions"] = names(findings["versions"])
    summary = compare_tables.summarise(findings)

    out = options.out or (TARGET / "compare" if options.quick else ROOT / "results")
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(lines(summary), encoding="utf-8")
    (out / "compare.md").write_text(compare_tables.page(summary), encoding="utf-8")
    compare_plot.draw(summary, out / "compare.svg")
    if out == ROOT / "results":
        compare_tables.replace_marked(ROOT / "README.md", compare_tables.short_table(summary))
    print(compare_tables.page(summary))
    for what in summary["skipped"]:
        print(f"skipped: {what}", file=sys.stderr)
    print(f"written: {out}/compare.json, compare.md and compare.svg", file=sys.stderr)


def lines(summary):
    """JSON for people, too: [median, least, most] on one line."""
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    joined = re.sub(r"\[\s+([-+.\de]+),\s+([-+.\de]+),\s+([-+.\de]+)\s+\]", r"[\1, \2, \3]", text)
    return joined + "\n"


def measure(arguments):
    """Runs the benchmark as a process group of its own, of which nothing is left behind."""
    raw = TARGET / "compare" / "raw.json"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.unlink(missing_ok=True)
    command = ["cargo", "bench", "--locked", "--features", "bare", "--bench", "compare", "--"]
    command += [*arguments, "--out", str(raw)]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    bench = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        code = bench.wait(timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired:
        sys.exit(f"the benchmark did not end within {TIME_LIMIT_S} s")
    finally:
        end_group(bench)
    if code != 0:
        sys.exit(f"the benchmark ended with {code}")
    return raw


def end_group(leader):
    """First kindly, so that it stops its servers; then whatever is left of it."""
    for kind, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(leader.pid, kind)
            leader.wait(timeout=patience_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def names(versions):
    """What each subject is called, with its version."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    tokio = next(package["version"] for package in lock["package"] if package["name"] == "tokio")
    own = versions.get("bullhorn-v1", versions.get("bullhorn-v2", "")).split()[-1:]
    titles = {
        "bullhorn-v1": " ".join(["bullhorn", *own, "stock peers"]),
        "bullhorn-v2": " ".join(["bullhorn", *own, "v2 peers"]),
        "nats": versions.get("nats", "").replace("nats-server: v", "NATS "),
        "mosquitto": versions.get("mosquitto", "").replace("mosquitto version", "Mosquitto"),
        "tokio": f"tokio {tokio}, send_to",
        "python": versions.get("python", "") + ", sendto",
        "sendmmsg": "bare kernel, sendmmsg",
        "sendmmsg-gso": "bare kernel, sendmmsg and GSO",
    }
    return {key: titles[key] for key in versions}


if __name__ == "__main__":
    main()
