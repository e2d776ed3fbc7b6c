"""The report in a real headless Chromium: it draws, answers to mouse and choices, and runs nothing that a run says."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

import lenses_min as lm
from lenses_min.report.page import page

pytestmark = pytest.mark.long

CORRECTED = Path(__file__).parents[2] / "golden" / "corrected"
SEVERAL = (CORRECTED.parent / "outputs" / "deep-tied", CORRECTED / "fact-prism")
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")

# Texts that plotly reads as pseudo-HTML; what the page itself writes of it; no & but in an entity of the page.
PLOTTED = """[...document.querySelectorAll(".figure")].flatMap(({ data, layout }) => [
  ...data.flatMap((t) => [t.name, t.text, t.hovertext, t.hovertemplate].flat(2)),
  ...layout.annotations?.map((a) => a.text) ?? [],
]).filter((text) => text)"""
OWN_MARKUP = r"<br>|%\{text\}|%\{y:\.5~g\}|<extra></extra>"
ESCAPED = r"(?s)([^&]|&(amp|lt|gt|#37|#36);)*"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        reason = "no Chromium on this machine; install Debian's package chromium"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with sync_playwright() as driver:
        args = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=args)
        yield launched
        launched.close()


class Opened:
    """A report in a tab, and all that the tab complained of, asked of the network or popped up."""

    def __init__(self, browser: Browser, path: Path) -> None:
        self.tab: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.messages: list[str] = []
        self.tab.on(
            "console", lambda message: self.messages.append(f"{message.type}: {message.text}")
        )
        self.tab.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        self.tab.on("dialog", self.dismiss)
        self.tab.on("request", lambda request: self.messages.append(request.url))
        self.tab.goto(path.as_uri())
        self.tab.locator("#heatmap0").scroll_into_view_if_needed()
        self.tab.wait_for_selector("#heatmap0 .hm")
        self.own, self.path = [path.as_uri()], path

    def dismiss(self, dialog: Dialog) -> None:
        self.messages.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def choose(self, name: str, value: str) -> None:
        self.tab.select_option(f"select[name={name}]", value)

    def eventually(self, script: str) -> None:
        """Wait until an expression holds; the page forbids the evaluation that playwright's own waiting needs."""
        for _ in range(100):
            if self.tab.evaluate(script):
                return
            self.tab.wait_for_timeout(50)
        raise AssertionError(script)

    def names(self, figure: str) -> list[str]:
        """The legend of a figure."""
        return self.tab.locator(f"#{figure} .legendtext").all_text_contents()

    def point(self, x: int, y: int) -> list[str]:
        """The lines of the label at a cell of the heatmap."""
        self.tab.locator("#heatmap0").scroll_into_view_if_needed()
        script = """([x, y]) => {
          const plot = document.getElementById("heatmap0"), box = plot.getBoundingClientRect(), l = plot._fullLayout;
          return [box.x + l.xaxis._offset + l.xaxis.c2p(x), box.y + l.yaxis._offset + l.yaxis.c2p(y)];
        }"""
        left, top = self.tab.evaluate(script, [x, y])
        self.tab.mouse.move(left - 3, top - 3)
        self.tab.mouse.move(left, top, steps=3)
        label = self.tab.locator("#heatmap0 .hoverlayer .hovertext").filter(
            has_text=f"layer {y}, position {x}:"
        )
        label.wait_for(timeout=9000)
        return label.locator("tspan.line").all_text_contents()


def opened(browser: Browser, folder: Path, out: Path, track: Sequence[str] = ()) -> Opened:
    out.write_text(page([lm.load(folder)], track), encoding="utf-8", newline="")
    return Opened(browser, out)


@pytest.fixture(scope="module")
def calm(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return opened(browser, CORRECTED / "fact-prism", tmp_path_factory.mktemp("calm") / "r.html")


@pytest.fixture(scope="module")
def harmed(browser: Browser, hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    out = tmp_path_factory.mktemp("harmed") / "r.html"
    return opened(browser, hostile, out, ["<b>bold</b>", "$x^2$", "%{y}"])


@pytest.fixture(scope="module")
def several(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    out = tmp_path_factory.mktemp("several") / "r.html"
    out.write_text(page([lm.load(folder) for folder in SEVERAL], ["Berlin"]), encoding="utf-8")
    return Opened(browser, out)


def test_the_page_draws_and_fetches_nothing(calm: Opened) -> None:
    assert calm.tab.locator("#curves .xy .trace").count() > 0
    assert calm.names("curves")[:3] == ["pos/orig", "pos/no_filler", "ctl/orig"]
    assert calm.messages == calm.own


def test_pointing_at_a_cell_shows_its_top_k(calm: Opened) -> None:
    row = next(
        r for r in lm.load(CORRECTED / "fact-prism").records() if (r.layer, r.pos) == (5, 16)
    )
    head, entropy, *listed, rest = calm.point(16, 5)
    assert (head, entropy) == ("layer 5, position 16: ⁨␣simply⁩", f"entropy {row.entropy:.4f} bits")
    assert [re.split(r" +⁨", line)[1] for line in listed] == [
        f"{t.replace(' ', '␣')}⁩" for t, _ in row.top
    ]
    assert len(listed) == 20
    assert rest.endswith("all others")


def test_the_lens_is_switched(calm: Opened) -> None:
    drawn = "document.getElementById('{}').data.filter(t => t.visible && {}).map(t => {})"
    cells = drawn.format("heatmap0", "t.type === 'heatmap'", "t.meta.show.lens[0]")
    kl = drawn.format("curves", "t.xaxis === 'x2' && t.text", "[...t.y]")
    before = calm.tab.evaluate(kl)
    calm.choose("lens", "prism")
    assert calm.tab.evaluate(cells) == ["prism"]
    assert calm.tab.evaluate(kl) != before
    run = lm.load(CORRECTED / "fact-prism")
    expected = [[row.kl_to_final_bits for row in rows] for rows in run.passes("prism").values()]
    assert calm.tab.evaluate(kl) == [pytest.approx(values, rel=1e-5) for values in expected]
    calm.choose("lens", "all lenses")
    assert calm.names("curves") == ["norm", "final", "raw", "prism"]
    swatches = "[...document.querySelectorAll('input[name=pass] ~ span .swatch')].map(s => s.checkVisibility())"
    assert set(calm.tab.evaluate(swatches)) == {False}, "their colours are those of lenses"
    calm.choose("lens", "norm")
    assert set(calm.tab.evaluate(swatches)) == {True}
    assert calm.tab.evaluate(kl) == before
    assert calm.messages == calm.own


def test_the_colour_is_switched(calm: Opened) -> None:
    title = calm.tab.locator(
        "#heatmap0 .infolayer .colorbar text.cbtitle, #heatmap0 [class*=coloraxis] text"
    )
    script = "() => { const t = document.getElementById('heatmap0')._fullData[0]; return [t.coloraxis, t.z[6][16]]; }"
    row = next(
        r for r in lm.load(CORRECTED / "fact-prism").records() if (r.layer, r.pos) == (6, 16)
    )
    assert calm.tab.evaluate(script) == ["coloraxis", pytest.approx(row.entropy, rel=1e-5)]
    calm.choose("colour", "p(top-1)")
    assert calm.tab.evaluate(script) == ["coloraxis2", pytest.approx(row.top[0][1], rel=1e-5)]
    assert title.filter(has_text="p(top-1)").count() >= 1
    calm.choose("colour", "entropy, bits")


def test_ranks_have_a_tick_a_power_of_ten(several: Opened) -> None:
    ticks = several.tab.locator("#curves .y3tick text").all_text_contents()
    assert ticks == ["1", "10", "100"]
    assert several.tab.locator("#curves .y6tick text").count() == 0, "no margin of what is chosen"


def test_of_one_lens_only_its_own_lines_are_seen(browser: Browser, tmp_path: Path) -> None:
    alone = opened(browser, CORRECTED.parent / "outputs" / "fact", tmp_path / "r.html")
    marks = ["copy at 1", "rank ≤ 10 at 3", "semantic, KL ≤ 1 at 4"]
    assert alone.names("curves") == ["pos/orig", "pos/no_filler", "ctl/orig", *marks]
    assert alone.tab.locator("select[name=lens]").is_hidden()


def test_hostile_texts_stay_texts(harmed: Opened, hostile: Path) -> None:
    rows = {(row.layer, row.pos): row for row in lm.load(hostile).records()}
    texts = set()
    for x, y in [(0, 0), (3, 2), (8, 4), (16, 6), (12, 3), (7, 1)]:
        _, _, *listed, _ = harmed.point(x, y)
        assert len(listed) == len(rows[y, x].top)
        texts |= {line.split("⁨")[1].rstrip("⁩") for line in listed}
    for expected in (
        "<img␣src=x␣onerror=alert(1)>",
        "</script><script>alert(2)</script>",
        "<b>bold</b>",
        "&amp;",
    ):
        assert expected in texts
    assert {
        "&#60;i&#62;",
        "%{y}",
        "$x^2$",
        "{{␣7␣*␣7␣}}",
        "⟨U+202E⟩abc",
        "␣⏎",
        "⟨empty⟩",
        "⟨U+200B⟩",
    } <= texts
    assert harmed.tab.locator("img, svg a, svg style, iframe").count() == 0
    assert harmed.tab.locator("script").count() == 3
    assert harmed.tab.title() == "Lens report: <i>x"
    harmed.tab.evaluate("dispatchEvent(new Event('beforeprint'))")  # draws every figure
    for text in harmed.tab.evaluate(PLOTTED):
        assert not set("<>%$") & set(re.sub(OWN_MARKUP, "", text)), text
        assert re.fullmatch(ESCAPED, text), text
    harmed.tab.evaluate("dispatchEvent(new Event('afterprint'))")
    for lens in ("prism", "all lenses"):
        harmed.choose("lens", lens)
    assert harmed.messages == harmed.own


def test_runs_and_passes_are_chosen_by_a_click(several: Opened) -> None:
    """Also by the keyboard, with a focus that is seen; what belongs to a run goes and comes with it."""
    tab = several.tab
    drawn = "[...new Set(document.getElementById('curves').data.filter(t => !t.meta.mark).map(t => t.name))]"
    assert tab.evaluate(drawn) == ["deep-tied, pos/orig", "Fact-prism, pos/orig"]
    tab.get_by_label("deep-tied", exact=True).click()
    assert tab.evaluate(drawn) == ["Fact-prism, pos/orig"]
    assert tab.locator("section").filter(has_text="deep-tied: the top-1").is_hidden()
    box = tab.get_by_label("mean of the passes", exact=True)
    box.focus()
    tab.keyboard.press("Space")
    assert tab.evaluate(drawn) == ["Fact-prism, pos/orig", "Fact-prism, mean of the passes"]
    assert tab.locator("#status").text_content() == "2 curves shown"
    tab.keyboard.press("Shift+Tab")
    outline = "getComputedStyle(document.activeElement.closest('.chip')).outlineStyle"
    assert tab.evaluate(outline) == "solid"
    tab.locator("button[data-none=model]").press("Enter")
    assert tab.evaluate(drawn) == []
    tab.locator("button[data-all=model]").press("Enter")
    box.click()
    assert len(tab.evaluate(drawn)) == 2
    assert several.messages == several.own


def test_a_figure_is_a_table_too(several: Opened) -> None:
    tab = several.tab
    details = tab.locator("details[data-of=tracked]")
    details.locator("summary").press("Enter")  # the page fills the table on the event that follows
    several.eventually("document.querySelector('details[data-of=tracked] tr') !== null")
    rows = details.locator("tr").all_inner_texts()
    assert rows[0].split("\t") == ["curve", "panel", *rows[0].split("\t")[2:]]
    assert any(row.startswith("Fact-prism, ␣Berlin, pos/orig\tp of the token") for row in rows)
    named = tab.locator(".figure").evaluate_all("all => all.map(f => f.getAttribute('aria-label'))")
    assert all(named)
    levels = tab.locator("h1, h2, h3").evaluate_all("all => all.map(h => h.tagName)")
    assert levels == ["H1", *["H2"] * (len(levels) - 1)]


def test_dark_screens_and_narrow_ones(several: Opened) -> None:
    tab = several.tab
    paper = "document.getElementById('curves')._fullLayout.paper_bgcolor"
    body = "getComputedStyle(document.body).backgroundColor"
    assert (tab.evaluate(paper), tab.evaluate(body)) == ("#ffffff", "rgb(255, 255, 255)")
    tab.locator("#curves").scroll_into_view_if_needed()
    tab.emulate_media(color_scheme="dark")
    several.eventually(f"{paper} === '#0f172a'")
    assert tab.evaluate(body) == "rgb(15, 23, 42)"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(paper) == "#ffffff"
    assert tab.locator("#heatmap1 .hm").count() > 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size({"width": 400, "height": 900})
    several.eventually("document.getElementById('curves')._fullLayout.yaxis2.domain[1] < 1")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert several.messages == several.own
