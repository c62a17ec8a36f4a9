# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table and the picture of text.py's records."""

from PIL import Image, ImageDraw, ImageFont

OURS, PEER, LIMIT = "#2471a3", "#b0b7bd", "#c0392b"
LINE, LEFT, WIDTH, GAP = 18, 290, 560, 46


def of(records, engine, case):
    return next((each for each in records if each["engine"] == engine and each["case"] == case), None)


def compared(record, records):
    """Of the peers' part: how many times as fast as the fastest peer; of the adapters', the time added to the
    base."""
    same = [each for each in records if each["case"] == record["case"]]
    median = record["seconds"]["median"]
    if record["part"] == "adapters":
        base = of(same, "base", record["case"])
        return f"{median / base['seconds']['median'] - 1:+6.1%}" if base and base is not record else ""
    peers = [each["seconds"]["median"] for each in same if each["peer"]]
    return f"{min(peers) / median:5.2f}x" if peers and not record["peer"] else ""


def show(width, part, cases, records, missing):
    """Milliseconds, the share of the limit, and what compared() says; MB of files; the largest difference of
    logits from f32's and from the engine that runs the same."""
    cells = "".join(f"{case.name:>26}" for case in cases)
    print(f"\n{width + ', ' + part:38}{'MB':>6}{cells}{'off f32':>10}{'off reference':>15}  same tokens")
    for engine in dict.fromkeys(each["engine"] for each in records):
        mine = [each for each in records if each["engine"] == engine]
        line = f"{engine:38}{mine[0]['megabytes']:6.0f}"
        for case in cases:
            record = of(mine, engine, case.name)
            if not record:
                line += f"{'':26}"
                continue
            line += f"{1e3 * record['seconds']['median']:9.2f} ms {record['share_of_limit']:4.0%} "
            line += f"{compared(record, records):>8}"
        line += number(mine, "off_f32", 10) + number(mine, "off_reference", 15)
        equal = [each["tokens_equal"] for each in mine if "tokens_equal" in each]
        print(line + (f"  {'yes' if all(equal) else 'no'}" if equal else ""), flush=True)
    for each in missing:
        print(f"{each['engine']:38}{each['why']}", flush=True)


def number(records, name, width):
    values = [each[name] for each in records if name in each]
    return f"{max(values):{width}.1e}" if values else " " * width


def draw(records, path):
    """Bars of milliseconds, a panel for each case; a line across each bar at the limit."""
    cases = list(dict.fromkeys(each["case"] for each in records))
    if not cases:
        return
    panels = [[each for each in records if each["case"] == case] for case in cases]
    height = sum(GAP + LINE * len(panel) for panel in panels) + GAP
    image = Image.new("RGB", (LEFT + WIDTH + 190, height), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    y = 14
    for case, panel in zip(cases, panels, strict=True):
        pen.text((12, y), f"{case}, milliseconds", fill="black", font=ImageFont.load_default(15))
        y += 26
        most = max(each["seconds"]["median"] for each in panel)
        for each in panel:
            median = each["seconds"]["median"]
            end, limit = (LEFT + WIDTH * part / most for part in (median, median * each["share_of_limit"]))
            name = f"{each['width']}  {each['engine']}"
            pen.text((12, y), name, fill="black", font=font)
            pen.rectangle([LEFT, y + 2, end, y + LINE - 4], fill=PEER if each["peer"] else OURS)
            pen.line([(limit, y), (limit, y + LINE - 2)], fill=LIMIT, width=2)
            text = f"{1e3 * median:.1f}  {compared(each, of_group(records, each))}"
            pen.text((max(end, limit) + 8, y), text, fill="black", font=font)
            y += LINE
        y += GAP - 26
    for i, (text, colour) in enumerate((("adapter-opt", OURS), ("peers", PEER), ("limit", LIMIT))):
        pen.rectangle([12 + 130 * i, y + 3, 24 + 130 * i, y + 13], fill=colour)
        pen.text((30 + 130 * i, y), text, fill="black", font=font)
    image.save(path)


def of_group(records, record):
    return [e for e in records if (e["width"], e["part"]) == (record["width"], record["part"])]
