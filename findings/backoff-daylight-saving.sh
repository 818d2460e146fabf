#!/usr/bin/env bash
# backoff 2.2.1: when the clocks change, max_time is an hour longer, or over at once
#
# A good guess: `@backoff.on_exception(..., max_time=9)` tries for nine seconds. At worst a person who
# sets the machine's clock disturbs it; summer time cannot, since it does not touch that clock.
#
# What really happens: the time since the first try is the difference of two readings of the local
# wall clock without a zone. A retry that is under way when summer time ends believes that it has
# an hour more, and goes on; its handlers are told of an `elapsed` of about -3,595 seconds. One that
# is under way when summer time begins gives up at its next failure, with an `elapsed` of about
# 3,600 seconds. The machine's clock is right the whole time, and with TZ=UTC nothing of it is ever
# seen. tenacity (monotonic clock) and retrying (seconds since the epoch) are right on the same
# nights, and so is the fork python-backoff.
#
# Versions and source: backoff 2.2.1, the latest release of that name on PyPI: retry_exception and
# retry_predicate in backoff/_sync.py and _async.py take datetime.datetime.now(), _next_wait in
# _common.py subtracts the difference from max_time. Its issue 149 of 2022 (litl/backoff) names the
# clock and is open; the fork python-backoff 3.0.0 imports as the same module and counts monotonic
# time. tenacity 9.2.1, retrying 1.4.2. No clock is touched here: TZ is a rule of POSIX whose summer
# time begins or ends five seconds after the start.
#
# Why it matters for telex: "try again until the switch is back, at most for a minute" is the loop
# that a client in Python writes with it. On one night of the year all of them give up at once, on
# the other none ends in time. The switch and its library count time-outs on the monotonic clock
# alone, and a client should too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

pip=(python3 -m pip --quiet --disable-pip-version-check install --no-deps --target)
"${pip[@]}" packages backoff==2.2.1 tenacity==9.2.1 retrying==1.4.2
"${pip[@]}" fork python-backoff==3.0.0
python3 --version
for folder in packages fork; do
  python3 -c 'import importlib.metadata as m, sys
for each in m.distributions(path=[sys.argv[1]]): print(each.metadata["Name"], each.version)' "$folder"
done

cat >try.py <<'END'
import datetime, sys, time

try:
    import retrying, tenacity
except ImportError:
    retrying = tenacity = None
import backoff

start, began, said = time.monotonic(), datetime.datetime.now(), []


class Down(Exception):
    pass


def ask():
    if time.monotonic() - start > 20:
        return "still trying after 20 s"
    raise Down


def told(details):
    said.append(round(details["elapsed"]))


with_backoff = backoff.on_exception(backoff.constant, Down, interval=1, jitter=None, max_time=9,
                                    on_backoff=told, on_giveup=told)
if tenacity:
    with_tenacity = tenacity.retry(wait=tenacity.wait_fixed(1), stop=tenacity.stop_after_delay(9), reraise=True)
    with_retrying = retrying.retry(wait_fixed=1000, stop_max_delay=9000)

choice = {"tenacity": lambda: with_tenacity, "retrying": lambda: with_retrying}.get(sys.argv[1], lambda: with_backoff)()
try:
    word = choice(ask)()
except Down:
    took = time.monotonic() - start
    word = "gave up in time" if 8 <= took <= 16 else "gave up early" if took < 8 else "gave up late"
print(f"{sys.argv[1]}: {word}" + (f", elapsed from {min(said)} to {max(said)}" if said else ""))
print(f"  {sys.argv[1]} ended at local time {datetime.datetime.now():%T}, {time.monotonic() - start:.1f} s after it began"
      f" at {began:%T}", file=sys.stderr)
END

cat >rule.py <<'END'
import calendar, datetime, sys

change = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
year_day = change.timetuple().tm_yday
if calendar.isleap(change.year) and year_day > 59:
    year_day -= 1  # J counts no 29 February
other_day = (year_day + 180) % 365 + 1
winter_time = f"J{year_day}/{change:%H:%M:%S}"
summer_time = f"J{year_day}/{change.hour + 1}:{change:%M:%S}"
print({"ordinary": "WINTER0",
       "begins": f"WINTER0SUMMER,{winter_time},J{other_day}",
       "ends": f"WINTER0SUMMER,J{other_day},{summer_time}"}[sys.argv[1]])
END

night() { # ordinary|begins|ends
  for package in backoff python-backoff retrying tenacity; do
    [[ $package == python-* ]] && folder=fork || folder=packages
    PYTHONPATH=$work/$folder TZ=$(python3 rule.py "$1") timeout 40 python3 try.py "$package" >"$1-$package" 2>>times &
  done
  wait
  sed "s/^/$1: /" "$1"-backoff "$1"-python-backoff "$1"-retrying "$1"-tenacity
}
for each in ordinary begins ends; do night "$each"; done | tee seen
cat times
sed -E 's/from -3(59|58)[0-9] /from -1h /; s/to 3(60|61)[0-9]$/to +1h/; s/from [0-9] /from 0 /; s/to [0-9]+$/to some/' seen >short
cat >expected <<'END'
ordinary: backoff: gave up in time, elapsed from 0 to some
ordinary: python-backoff: gave up in time, elapsed from 0 to some
ordinary: retrying: gave up in time
ordinary: tenacity: gave up in time
begins: backoff: gave up early, elapsed from 0 to +1h
begins: python-backoff: gave up in time, elapsed from 0 to some
begins: retrying: gave up in time
begins: tenacity: gave up in time
ends: backoff: still trying after 20 s, elapsed from -1h to some
ends: python-backoff: gave up in time, elapsed from 0 to some
ends: retrying: gave up in time
ends: tenacity: gave up in time
END
diff expected short || { echo "CHANGED: this is not what was found"; exit 1; }
echo "as found: backoff alone is an hour out on both nights"
