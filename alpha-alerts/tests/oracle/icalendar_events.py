#!/usr/bin/env python3
"""Reads an iCalendar file with the package `icalendar`, strictly, and prints its events as JSON."""

import json
import sys

import icalendar

with open(sys.argv[1], "rb") as file:
    calendar = icalendar.Calendar.from_ical(file.read())
assert not calendar.errors, calendar.errors
events = []
for event in calendar.walk("VEVENT"):
    assert not event.errors, event.errors
    events.append(
        {
            "uid": str(event["UID"]),
            "summary": str(event["SUMMARY"]),
            "description": str(event.get("DESCRIPTION", "")),
            "starts_at": event.decoded("DTSTART").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ends_at": event.decoded("DTEND").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "stamp": event.decoded("DTSTAMP").strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
json.dump({"name": str(calendar["X-WR-CALNAME"]), "events": events}, sys.stdout)
