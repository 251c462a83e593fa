#!/usr/bin/env python3
"""An oracle of its own for who is on duty: it walks through ten years and asks at every step.

It shares nothing with the library but the scenarios: time zones are Python's, the rules are read from the configuration
again, and no boundary is computed; a change is found by looking, and narrowed down to the minute by halving. Near every
change of the clocks it looks every five minutes, else every hour, which is the shortest window and override of the
scenarios.

    duty.py scenarios.json            prints one line per change: schedule, instant, people
    duty.py scenarios.json --digest   prints what digests.json holds
"""

import datetime as dt
import hashlib
import json
import sys
from functools import lru_cache
from zoneinfo import ZoneInfo

WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


@lru_cache(maxsize=None)
def zone_of(name):
    return ZoneInfo(name)


@lru_cache(maxsize=200_000)
def instant(zone, ordinal, minutes):
    """Unix seconds of a time of day; a skipped one moves forward, of a repeated one the first counts."""
    day = dt.date.fromordinal(ordinal)
    local = dt.datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=zone_of(zone), fold=0)
    return int(local.timestamp())


def minutes_of(text):
    hours, minutes = text.split(":")[:2]
    return int(hours) * 60 + int(minutes)


class Calendar:
    def __init__(self, config):
        config = config or {}
        self.weekend = {WEEKDAYS.index(day) for day in config.get("weekend", ["saturday", "sunday"])}
        self.working = {dt.date.fromisoformat(day) for day in config.get("working_days", [])}
        self.rest = set()
        for holiday in config.get("holidays", []):
            first = dt.date.fromisoformat(holiday["from"])
            last = dt.date.fromisoformat(holiday.get("until", holiday["from"]))
            years = range(first.year, 2032) if holiday.get("yearly") else [first.year]
            for year in years:
                try:
                    day = first.replace(year=year)
                except ValueError:
                    continue
                for extra in range((last - first).days + 1):
                    self.rest.add(day + dt.timedelta(days=extra))
        self.cache = {}

    def works(self, ordinal):
        if ordinal not in self.cache:
            day = dt.date.fromordinal(ordinal)
            rests = day.weekday() in self.weekend or day in self.rest
            self.cache[ordinal] = day in self.working or not rests
        return self.cache[ordinal]


def is_such_a_day(kinds, ordinal, calendar):
    if not kinds:
        return True
    weekday = WEEKDAYS[(ordinal + 6) % 7]
    works = calendar.works(ordinal)
    return weekday in kinds or (works and "working" in kinds) or (not works and "rest" in kinds)


class Layer:
    def __init__(self, config, schedule_zone, calendar, roles):
        self.zone = config.get("zone", schedule_zone)
        self.calendar = calendar
        self.hand_off = minutes_of(config.get("hand_off", "09:00"))
        self.starts = dt.date.fromisoformat(config["starts_on"]).toordinal()
        self.begin = instant(self.zone, self.starts, self.hand_off)
        self.end = float("inf")
        if "ends_on" in config:
            self.end = instant(self.zone, dt.date.fromisoformat(config["ends_on"]).toordinal(), self.hand_off)
        self.turn_days = config.get("turn_days", 7)
        self.windows = [
            (window.get("days"), minutes_of(window.get("from", "00:00")), minutes_of(window.get("until", "00:00")))
            for window in config.get("only", [])
        ]
        self.rotation = [
            list(roles[entry[5:]]) if entry.startswith("role/") else [entry] for entry in config["rotation"]
        ]

    def is_covered(self, today, at):
        for ordinal in range(today - 2, today + 2):
            for days, begin, end in self.windows:
                last = ordinal if end > begin else ordinal + 1
                is_within = instant(self.zone, ordinal, begin) <= at < instant(self.zone, last, end)
                if is_within and is_such_a_day(days, ordinal, self.calendar):
                    return True
        return not self.windows

    def people(self, at):
        """Who this layer puts on duty at `at`, asked afresh."""
        if not self.begin <= at < self.end:
            return []
        today = dt.datetime.fromtimestamp(at, zone_of(self.zone)).toordinal()
        if not self.is_covered(today, at):
            return []
        # The latest day on which a hand-off has already been: walked back to from tomorrow.
        day = today + 1
        while (day - self.starts) % self.turn_days != 0 or instant(self.zone, day, self.hand_off) > at:
            day -= 1
        return list(self.rotation[(day - self.starts) // self.turn_days % len(self.rotation)])


def duty(layers, overrides, at):
    people = []
    for layer in reversed(layers):
        people = layer.people(at)
        if people:
            break
    for entry in overrides:
        if not entry["from"] <= at < entry["to"]:
            continue
        if entry.get("replaces") is None:
            people = [entry["person"]]
        elif entry["replaces"] in people:
            place = people.index(entry["replaces"])
            if entry["person"] in people:
                del people[place]
            else:
                people[place] = entry["person"]
    return tuple(people)


def changes(layers, overrides, start, end):
    zones = sorted({layer.zone for layer in layers})

    @lru_cache(maxsize=None)
    def offsets(day):
        return [dt.datetime.fromtimestamp(day * 86400, zone_of(zone)).utcoffset() for zone in zones]

    def ask(at):
        return duty(layers, overrides, at)

    at, now = start, ask(start)
    yield at, now
    while at < end:
        is_near_a_change = offsets(at // 86400 - 1) != offsets(at // 86400 + 2)
        ahead = min(at + (300 if is_near_a_change else 3600), end)
        there = ask(ahead)
        while there != now:
            low, high = at, ahead
            while high - low > 60:
                middle = (low + high) // 120 * 60
                if ask(middle) == now:
                    low = middle
                else:
                    high = middle
            at, now = high, ask(high)
            if at >= end:
                return
            yield at, now
        at = ahead


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        scenarios = json.load(file)
    config = scenarios["config"]
    seconds = lambda text: int(dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
    start, end = seconds(scenarios["from"]), seconds(scenarios["to"])
    roles = {role["name"]: role["people"] for role in config["roles"]}
    calendars = {calendar["name"]: Calendar(calendar) for calendar in config["calendars"]}
    digests = {}
    for schedule in config["schedules"]:
        name = schedule["name"]
        overrides = [
            dict(entry, **{"from": seconds(entry["starts_at"]), "to": seconds(entry["ends_at"])})
            for entry in scenarios["overrides"]
            if entry["schedule"] == name
        ]
        overrides.sort(key=lambda entry: (entry["created_at"], entry["id"]))
        calendar = calendars.get(schedule.get("calendar"), Calendar(None))
        layers = [Layer(layer, schedule.get("zone", "UTC"), calendar, roles) for layer in schedule["layers"]]
        lines = [
            f"{name} {at} {','.join(people)}\n"
            for at, people in changes(layers, overrides, start, end)
        ]
        if "--digest" in sys.argv:
            digest = hashlib.sha256("".join(lines).encode()).hexdigest()
            digests[name] = {"changes": len(lines), "sha256": digest}
        else:
            sys.stdout.write("".join(lines))
    if "--digest" in sys.argv:
        json.dump(digests, sys.stdout, indent=2)
        sys.stdout.write("\n")


main()
