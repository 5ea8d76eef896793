"""The old and the modern network in the block view: sites, masks, texts that run, and training."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from redrop.cli.app import app, main
from redrop.lab import export
from redrop.lab.jobs import FOLDER, command_for
from redrop.models import DropoutRates, MLPConfig, TransformerConfig, build_model
from redrop.nn import SiteModule, attach
from redrop.study.arms import parse_arms
from redrop.study.records import read_study
from redrop.tasks.configure import configure
from redrop.tasks.load import load_task
from redrop.tasks.presets import preset
from redrop.tasks.spec import TaskSpec
from tests.lab.block import (
    BLOCK,
    MASK_JS,
    NETWORKS,
    SITES_JS,
    STATE_JS,
    TEXT_JS,
    check_chosen,
    config_of,
)
from tests.lab.conftest import STATIC, TOKEN, LiveServer
from tests.lab.test_everywhere import AXE


def all_sites(network: str) -> MLPConfig:
    """A network with a site of every kind that it can have, wide enough for what is shown."""
    rates = dict.fromkeys(MLPConfig.KINDS[network], 0.5)
    return config_of(network, rates, width=48)


@pytest.mark.parametrize("network", NETWORKS)
def test_sites_have_the_kinds_and_names_of_the_code(node: Callable[..., Any], network: str) -> None:
    told = node(SITES_JS + "give(NETWORKS[input].about);", network)
    assert tuple(told) == MLPConfig.KINDS[network]
    model = build_model(all_sites(network))
    in_code = set(attach(model, seed=0).sites)
    assert {about["path"] for about in told.values()} <= in_code

    def ending(path: str) -> str:
        return re.sub(r"blocks\.\d+\.", "", path)

    assert {ending(about["path"]) for about in told.values()} == set(map(ending, in_code))
    for kind, about in told.items():
        alone = build_model(config_of(network, {kind: 0.3}))
        module = alone.get_submodule(about["path"])
        assert isinstance(module, SiteModule)
        assert module.p == 0.3, "p of the page is that of the site it names"


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_drawn_as_dropped_is_what_the_network_drops(
    node: Callable[..., Any], network: str
) -> None:
    """Training steps of the built network, and the corners of their masks that the page draws."""
    drawn = node(
        SITES_JS + MASK_JS + "const { about } = NETWORKS[input];\n"
        "const at = (step) => Object.values(about).map(({ path, mask }) => [path, [...keepMask(\n"
        "  maskKey(9n, step, siteId(path)), 0.5, mask.shape, { shared: mask.shared ?? [] })]]);\n"
        "give([0, 1, 2, 3, 4, 5].map(at));",
        network,
    )
    model = build_model(all_sites(network)).train()
    state = attach(model, seed=9)
    seen: dict[str, list[tuple[bool, bool]]] = {}

    def watch(path: str) -> Callable[..., None]:
        def hook(_: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
            """Note which numbers could be dropped, and which came through."""
            if path.endswith("layer_drop"):
                seen[path] = [(True, output is not args[1])]
                return
            came, went = (x[:12, :48].flatten() != 0 for x in (args[0], output))
            seen[path] = list(zip(came.tolist(), went.tolist(), strict=True))

        return hook

    for path, _ in drawn[0]:
        model.get_submodule(path).register_forward_hook(watch(path))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator))
    decisions: dict[str, set[int]] = {path: set() for path, _ in drawn[0]}
    for step, masks in enumerate(drawn):
        seen.clear()
        state.set_step(step)
        with torch.no_grad():
            model(torch.rand(12, 3, generator=generator))
        for path, keep in masks:
            if path not in seen:
                assert dict(masks)["blocks.0.layer_drop"] == [0] or path.startswith("blocks.1")
                continue
            told = [pair[0] for pair in seen[path]]
            wanted = [bool(bit) for bit, could in zip(keep, told, strict=True) if could]
            assert [went for came, went in seen[path] if came] == wanted, (path, step)
            decisions[path] |= set(wanted)
    assert all(both == {False, True} for both in decisions.values()), "each site drops and keeps"


@pytest.mark.parametrize("network", NETWORKS)
def test_every_site_is_chosen_by_key_and_shows_the_hash_of_its_mask(
    open_page: Callable[..., Page], node: Callable[..., Any], network: str
) -> None:
    about = node(SITES_JS + "give(NETWORKS[input].about);", network)
    rates = ",".join(["0.4"] * len(about))
    page = open_page(f"{BLOCK}&net={network}&{network}={rates}&seed=5&step=8")
    expect(page.locator(".rd-site")).to_have_count(len(about))
    for kind, told in about.items():
        button = page.get_by_role("button", name=f"Dropout site {told['title']}, p = 0.4")
        kept = check_chosen(page, button, kind, told)
    page.get_by_text("Mask as a table").click()
    cells = page.locator("table", has_text="Mask of this site").locator("td").all_inner_texts()
    assert [cell == "kept" for cell in cells] == kept.ravel().tolist()
    page.get_by_text("Sites as a table").click()
    rows = page.locator("table", has_text="Dropout sites of this network").locator("tbody tr")
    expect(rows).to_have_count(len(about))


def test_the_switch_keeps_each_networks_rates_and_is_in_the_address(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(BLOCK + "&rates=0.1,0.2,0,0,0&norm=post")
    page.get_by_label("Old MLP").check(force=True)
    expect(page.locator(".rd-stream")).to_have_count(0)
    expect(page.get_by_role("radio", name="Post-norm")).to_have_count(0)
    page.get_by_label("p, the probability of dropping", exact=True).fill("0.25")
    page.get_by_label("Modern MLP").check(force=True)
    expect(page.locator(".rd-stream")).to_have_count(1)
    page.get_by_role("button", name="Stochastic depth 0.2").click()
    page.wait_for_timeout(250)
    address = page.evaluate("location.hash")
    assert "net=modern" in address
    other = open_page("/" + address)
    expect(
        other.get_by_role("button", name="Dropout site Branch of a sample, p = 0.2")
    ).to_be_visible()
    other.get_by_label("Old MLP").check(force=True)
    expect(
        other.get_by_role("button", name="Dropout site Before the activation, p = 0.25")
    ).to_be_visible()
    other.get_by_label("Transformer").check(force=True)
    expect(other.get_by_role("radio", name="Post-norm")).to_be_checked()
    expect(
        other.get_by_role("button", name="Dropout site Attention weights, p = 0.2")
    ).to_be_visible()


def test_rates_survive_the_address_and_broken_ones_do_not_get_in(node: Callable[..., Any]) -> None:
    body = STATE_JS + (
        "const read = (hash) => {\n"
        "  const s = createState(); fromHash(s, hash); return [s, toHash(s)]; };\n"
        "give(input.map((hash) => { const [s, again] = read(hash); const [t] = read(again);\n"
        "  const rates = (x) => [x.net, x.rates, x.modern, x.old].map((f) => f.value);\n"
        "  return [rates(s), rates(t)]; }));"
    )
    text = [0.1] * 5 + [0] * 4
    first = ["transformer", text, [0.1, 0.1, 0, 0], [0.5, 0.3]]
    good = ["old", text, [0, 0.2, 1, 0.4], [0, 1]]
    broken = ["old=1", "old=0.1,7", "modern=0.1,0.1,0", "modern=,,,", "old=", "net=constructor",
              "rates=0.1", "rates=0.1,0,0,0,0,0.2", "old=0.1,0.2,0.3", "#"]  # fmt: skip
    got = node(body, ["#v=1&net=old&modern=0,0.2,1,0.4&old=0,1", *broken])
    assert got[0] == [good, good]
    assert got[1:] == [[first, first]] * len(broken)


def snippets(page: Page) -> tuple[str, list[str]]:
    texts = page.locator(".rd-snippet pre code").all_inner_texts()
    assert len(texts) == 2
    return texts[0], shlex.split(texts[1])


@pytest.mark.parametrize(
    ("network", "task", "rates"),
    [("old", "digits", [0.5, 0.3]), ("old", "table", [0.0, 0.0]),
     ("modern", "table", [0.1, 0.1, 0.2, 0.1])],
)  # fmt: skip
def test_python_and_command_run_as_they_stand(
    open_page: Callable[..., Page],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: str,
    task: str,
    rates: list[float],
) -> None:
    values = ",".join(map(str, rates))
    page = open_page(f"{BLOCK}&net={network}&{network}={values}&task={task}&seed=4")
    python, command = snippets(page)
    scope: dict[str, Any] = {}
    exec(python, scope)
    kinds = MLPConfig.KINDS[network]
    expected = DropoutRates(**dict(zip(kinds, rates, strict=True)))
    assert (scope["config"].network, scope["config"].dropout) == (network, expected)
    assert isinstance(scope["model"], torch.nn.Module)
    assert command[:3] == ["redrop", "train", "--task"]
    command[command.index("--steps") + 1] = "3"  # the rest runs as it stands, but not for so long
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", command)
    main(command[1:])
    (folder,) = (tmp_path / "runs").iterdir()
    (run,) = read_study(folder).runs
    model = run.header.config["model"]
    assert MLPConfig.from_json(model) == scope["config"]
    assert run.header.seed == 4


def test_the_command_of_the_request_trains_what_the_page_shows(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(BLOCK + "&net=modern&modern=0.1,0.1,0.2,0&task=table&seed=3")
    _, shown = snippets(page)
    rates = {"feed_forward_hidden": 0.1, "feed_forward_residual": 0.1, "drop_path": 0.2}
    asked = {"network": "modern", "task": "table", "steps": 300, "seed": 3, "rates": rates}
    started, _ = command_for(asked)
    assert started[: len(shown) - 1] == shown[1:]


@pytest.mark.slow
def test_a_run_is_trained_from_the_page_and_leads_back_to_its_masks(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    base = live(folder=tmp_path).url("")
    page = open_page(f"/?token={TOKEN}#v=1&view=block&net=old&old=0.4,0.2&seed=6", base=base)
    page.get_by_label("Data").select_option("table")
    page.get_by_label("Steps").fill("40")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="See its curves").click()
    expect(page.get_by_text("1 of 1 run complete")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Validation loss in eval mode, nats. This")).to_be_visible()
    page.get_by_label("Accuracy").check(force=True)
    page.get_by_role("application").first.focus()
    for key in ("Home", "ArrowRight"):
        page.keyboard.press(key)
    (folder,) = (tmp_path / FOLDER).iterdir()
    (run,) = read_study(folder).runs
    line = run.evals[1]
    reading = f"Step {line.step}: old+pre_activation-0.4+feed_forward_hidden-0.2 "
    accuracy = f"{line.validation_metrics['accuracy']:.3f}"
    expect(page.locator(".rd-reading").first).to_have_text(f"{reading}{accuracy}.")
    page.keyboard.press("Enter")
    expect(page.locator("main h2")).to_have_text("Block")
    expect(page.get_by_label("Old MLP")).to_be_checked()
    expect(page.get_by_label("Step", exact=True)).to_have_value(str(line.step))
    expect(page.get_by_label("Seed")).to_have_value("6")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_shows_it_whole(
    open_page: Callable[..., Page], scheme: str
) -> None:
    page = open_page(BLOCK, color_scheme=scheme, viewport={"width": 360, "height": 740})
    page.evaluate(AXE)
    for label in ("Old MLP", "Modern MLP"):
        page.get_by_label(label).check(force=True)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        expect(page.get_by_role("table").first).to_be_visible()
        found = page.evaluate("async () => (await axe.run(document)).violations")
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_an_exported_file_has_the_switch(open_page: Callable[..., Page], tmp_path: Path) -> None:
    export(tmp_path / "page.html")
    page = open_page("#v=1&view=block", base=(tmp_path / "page.html").as_uri())
    page.get_by_label("Old MLP").check(force=True)
    expect(
        page.get_by_role("button", name="Dropout site Before the activation, p = 0.5")
    ).to_be_visible()
    expect(page.get_by_text("An exported page cannot train")).to_be_visible()


def test_sizes_of_the_data_are_told_right(node: Callable[..., Any]) -> None:
    for task, told in node(TEXT_JS + "give(TASKS);", None).items():
        default = preset(task)
        spec = TaskSpec(kind=default.kind, source=default.source, network="mlp")
        model = load_task(spec).settings()["model"]
        assert (told["features"], told["outputs"]) == (model["features"], model["outputs"])
        assert default.limit is None or str(default.limit) in told["title"]


def test_the_story_leads_to_the_switch_and_its_commands_are_real(
    open_page: Callable[..., Page], node: Callable[..., Any]
) -> None:
    chapters = node(
        f"import {{ CHAPTERS }} from '{STATIC}/js/panels/chapters.js'; give(CHAPTERS);", None
    )
    points = [point for one in chapters for point in one.get("list", []) if isinstance(point, list)]
    commands = [command for _, command in points]
    commands += [one["experiment"] for one in chapters if "experiment" in one]
    assert "redrop study --task table" in commands
    for command in commands:
        tokens = shlex.split(command)
        if tokens[0] != "redrop":
            continue
        app.parse_args(tokens[1:], print_error=False, exit_on_error=False)
        default = preset(tokens[tokens.index("--task") + 1] if "--task" in tokens else None)
        arms = tokens[tokens.index("--arms") + 1 :] if "--arms" in tokens else default.arms
        for recipe in parse_arms(tuple(arms)):
            if default.network == "mlp":
                configure(MLPConfig(features=3, outputs=2), recipe)
            elif default.network == "transformer":
                configure(TransformerConfig(vocab_size=2), recipe)
    number = next(
        i for i, one in enumerate(chapters) if "LayerNorm" in "".join(one.get("text", []))
    )
    page = open_page(f"/#v=1&chapter={number}")
    page.get_by_role("button", name="Old block").click()
    expect(page.get_by_label("Old MLP")).to_be_checked()
    expect(
        page.get_by_role("button", name="Dropout site Before the activation, p = 0.5")
    ).to_be_visible()
    expect(page.get_by_text("redrop study --task table").first).to_be_visible()
