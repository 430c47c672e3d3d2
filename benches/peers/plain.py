"""The whole job in plain Python: what one writes before looking for an engine.

    python3 plain.py IN OUT

Reads the JSON lines of IN, which name the field `stream`, and writes clean.jsonl, dead.jsonl and
gaps.jsonl into the folder OUT. The rules are those of a dataflow file with only defaults.
"""

import base64
import json
import os
import re
import sys
from datetime import datetime, timedelta

EPOCH_EVENTS = 10_000
MAX_WIDTH = 10_000
MAX_MISSING = 1_000_000
MAX_RECORD = 1 << 20
OVERSIZE_KEPT = 64 << 10
NESTING_MAX = 128
INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)
# Python's years begin with 1, so time is counted from a later date of the same weekday and season:
# the Gregorian calendar repeats itself every 400 years.
CYCLE_YEARS = 400
CYCLE_DAYS = 146_097
EPOCH_START = datetime(1970, 1, 1)
ABSENT = object()


class Fault(Exception):
    """The first fault of a record that is not well formed."""

    def __init__(self, reason, detail):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def instant(text):
    """The microseconds from 1970 to the instant that `text` names, or None."""
    match = INSTANT.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, hours, minutes = match.groups()[6:]
    shift = CYCLE_YEARS if year < 1000 else 0
    try:
        time = datetime(year + shift, month, day, hour, minute, second)
    except ValueError:
        return None
    since = time - EPOCH_START
    seconds = (since.days - (CYCLE_DAYS if shift else 0)) * 86_400 + since.seconds
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            return None
        ahead = int(hours) * 3600 + int(minutes) * 60
        seconds -= ahead if sign == "+" else -ahead
    return seconds * 1_000_000 + int((fraction or "")[:6].ljust(6, "0"))


def written(time):
    """An instant as an inferred event has it."""
    cycles = 0
    days = time // 86_400_000_000
    while days < -365_000:
        days += CYCLE_DAYS
        cycles -= 1
    while days > 2_900_000:
        days -= CYCLE_DAYS
        cycles += 1
    at = EPOCH_START + timedelta(days=days)
    year = at.year + cycles * CYCLE_YEARS
    clock = time % 86_400_000_000
    seconds, micros = divmod(clock, 1_000_000)
    fraction = "" if not micros else f".{micros // 1000:03}" if micros % 1000 == 0 else f".{micros:06}"
    year = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"
    return (
        f"{year}-{at.month:02}-{at.day:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}"
        f":{seconds % 60:02}{fraction}Z"
    )


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def check_text(value):
    """Refuses what Python takes for JSON and others do not."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    elif isinstance(value, dict):
        for name, inner in value.items():
            check_text(name)
            check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            check_text(inner)


def depth(text):
    """How deeply arrays and objects lie in each other."""
    deepest = level = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            level += 1
            deepest = max(deepest, level)
        elif char in "]}":
            level -= 1
    return deepest


def parse(record):
    if len(record) > MAX_RECORD:
        raise Fault("oversize", f"{len(record)} bytes, more than {MAX_RECORD}")
    try:
        text = record.decode()
        if record.count(b"{") + record.count(b"[") > NESTING_MAX and depth(text) > NESTING_MAX:
            raise ValueError("nested too deeply")
        value = json.loads(text, parse_constant=refuse_constant)
        if b"\\u" in record or b"e" in record or b"E" in record:
            check_text(value)
    except (ValueError, RecursionError) as error:
        raise Fault("not-json", str(error)) from None
    if not isinstance(value, dict):
        raise Fault("not-object", "not an object")
    return value


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def decode(record):
    """The stream, id, time, type and `valid` (None where absent) of a record."""
    event = parse(record)
    mark = event.get("amend")
    if isinstance(mark, dict) and mark.get("origin") == "reconstructed":
        raise Fault("inferred", '"/amend/origin" is "reconstructed": no evidence')

    def fault(reason, name, complaint):
        value = event.get(name, ABSENT)
        text = "absent" if value is ABSENT else json.dumps(value, ensure_ascii=False)
        return Fault(reason, f'"{name}" is {text}{complaint}')

    number = event.get("event_id")
    if number is None:
        raise fault("missing-id", "event_id", "")
    if not is_integer(number):
        raise fault("bad-id", "event_id", ", not an integer")
    if not -(1 << 63) <= number < 1 << 63:
        raise fault("bad-id", "event_id", ", not an integer of 64 bits")
    kind = event.get("type")
    if kind is None:
        raise fault("missing-type", "type", "")
    if not isinstance(kind, str):
        raise fault("bad-type", "type", ", not a string")
    # What Python calls blank and Unicode does not.
    if not kind.strip() and not set(kind) & set("\x1c\x1d\x1e\x1f"):
        raise fault("missing-type", "type", ", which is blank")
    time = event.get("timestamp", ABSENT)
    if time is ABSENT:
        raise fault("bad-timestamp", "timestamp", "")
    at = instant(time) if isinstance(time, str) else None
    if at is None:
        raise fault("bad-timestamp", "timestamp", ", not an instant in iso8601")
    valid = event.get("valid", ABSENT)
    if valid is not ABSENT and not isinstance(valid, bool):
        raise fault("bad-valid", "valid", ", not a boolean")
    stream = event.get("stream")
    if is_integer(stream) and -(1 << 63) <= stream < 1 << 64:
        stream = str(stream)
    elif stream is None:
        stream = ""
    elif not isinstance(stream, str):
        raise fault("bad-stream", "stream", ", not a string or an integer")
    return stream, number, at, kind, None if valid is ABSENT else valid


def lines(content):
    """The records with their offset and their line."""
    offset = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    number = 0
    while offset < len(content):
        number += 1
        end = content.find(b"\n", offset)
        end = len(content) if end < 0 else end
        record = content[offset:end]
        if end < len(content) and record.endswith(b"\r"):
            record = record[:-1]
        if record.strip(b" \t\r"):
            yield record, offset, number
        offset = end + 1


def on_one_line(record):
    if b"\r" not in record:
        return record
    return b"".join(re.findall(rb'"(?:[^"\\]|\\.)*"|[^"\s]+', record))


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


class Stream:
    """What is known of a stream: its events, by id and time, and how frequent its types are."""

    def __init__(self):
        self.events = {}
        self.kinds = {}

    def gaps(self):
        """Its runs of missing ids, each with the times on both sides."""
        times = {}
        for number, time in self.events:
            earliest, latest = times.get(number, (time, time))
            times[number] = (min(earliest, time), max(latest, time))
        numbers = sorted(times)
        for low, high in zip(numbers, numbers[1:]):
            if high - low > 1:
                yield low + 1, high - 1, times[low][1], times[high][0]

    def kind(self):
        most = max(self.kinds.values())
        frequent = (kind for kind, count in self.kinds.items() if count == most)
        return min(frequent, key=str.encode)


def label_copies(records, copies, letters):
    """Gives the seat to one of the copies of an event, and letters to the others."""
    valid = (copy for copy in copies if copy[1] is not False)
    seat = next(valid, copies[0])
    if seat[1] is False:
        letters[seat[0]] = ("invalid", "the event says that it is not valid")
    bytes_kept = records[seat[0]][0]
    for copy in copies:
        if copy is seat:
            continue
        if records[copy[0]][0] == bytes_kept:
            letters[copy[0]] = ("duplicate", "same bytes as the copy that was kept")
        else:
            letters[copy[0]] = ("conflict", "a copy with other bytes was kept")


def letter(reason, detail, index, record, offset, line, file):
    body = b'"event":' + on_one_line(record)
    if reason in ("oversize", "not-json", "not-object"):
        kept = record[:OVERSIZE_KEPT] if reason == "oversize" else record
        body = b'"raw":' + quoted(kept.decode(errors="replace")).encode()
        try:
            kept.decode()
        except UnicodeDecodeError:
            body += b',"raw_base64":"' + base64.b64encode(kept) + b'"'
        if reason == "oversize":
            body += b',"length":%d' % len(record)
    head = (
        f'{{"reason":"{reason}","detail":{quoted(detail)},"epoch":{index // EPOCH_EVENTS},'
        f'"source":{{"name":"peers","partition":{quoted(file)},"offset":{offset},"line":{line}}},'
    )
    return head.encode(errors="replace") + body + b"}\n"


def write_kept(record, valid, out):
    text = on_one_line(record)
    if valid is None:
        brace = text.rindex(b"}")
        text = text[:brace] + b',"valid":true' + text[brace:]
    out.write(text + b"\n")


def main(source, out):
    with open(source, "rb") as file:
        records = list(lines(file.read()))
    streams, letters, adds_valid = {}, {}, set()
    for index, (record, _, _) in enumerate(records):
        try:
            name, number, time, kind, valid = decode(record)
        except Fault as fault:
            letters[index] = (fault.reason, fault.detail)
            continue
        stream = streams.setdefault(name, Stream())
        stream.events.setdefault((number, time), []).append((index, valid))
        stream.kinds[kind] = stream.kinds.get(kind, 0) + 1
        if valid is None:
            adds_valid.add(index)
    for stream in streams.values():
        for copies in stream.events.values():
            if len(copies) > 1 or copies[0][1] is False:
                label_copies(records, copies, letters)

    os.makedirs(out, exist_ok=True)
    with (
        open(f"{out}/clean.jsonl", "wb") as clean,
        open(f"{out}/dead.jsonl", "wb") as dead,
        open(f"{out}/gaps.jsonl", "wb") as gaps,
    ):
        for index, (record, offset, line) in enumerate(records):
            if index in letters:
                reason, detail = letters[index]
                base = os.path.basename(source)
                dead.write(letter(reason, detail, index, record, offset, line, base))
            else:
                write_kept(record, None if index in adds_valid else True, clean)
        epoch = max(len(records) - 1, 0) // EPOCH_EVENTS
        for name in sorted(streams, key=str.encode):
            write_gaps(name, streams[name], epoch, clean, dead, gaps)


def write_gaps(name, stream, epoch, clean, dead, gaps):
    found = list(stream.gaps())
    narrow = [high - low + 1 for low, high, _, _ in found if high - low < MAX_WIDTH]
    is_sparse = sum(narrow) > MAX_MISSING
    of_stream = f'"stream":{quoted(name)}'
    kind = quoted(stream.kind())
    if is_sparse:
        line = f'{{"reason":"sequence-too-sparse",{of_stream},"epoch":{epoch}}}\n'
        dead.write(line.encode())
    for low, high, after, before in found:
        gaps.write(f'{{"op":"open",{of_stream},"from":{low},"to":{high}}}\n'.encode())
        if high - low >= MAX_WIDTH:
            line = f'{{"reason":"gap-too-wide",{of_stream},"from":{low},"to":{high},"epoch":{epoch}}}\n'
            dead.write(line.encode())
        elif not is_sparse:
            tail = (
                (f",{of_stream}" if name else "")
                + f',"type":{kind},"timestamp":"{written((after + before) // 2)}"'
                + ',"valid":true,"amend":{"origin":"reconstructed"}}\n'
            ).encode()
            for number in range(low, high + 1):
                clean.write(b'{"event_id":%d' % number + tail)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
