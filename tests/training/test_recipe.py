"""Recipes: what is shipped is whole, and what is wrong is named."""

import pytest

from gxnor.errors import GxnorError
from gxnor.training import recipes


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_survive_being_written_out(name, tmp_path):
    recipe = recipes.load(name)
    path = tmp_path / f"{name}.toml"
    path.write_text(recipes.dump(recipe))
    assert recipes.load(str(path)) == recipe


def test_names():
    assert {"digits", "mnist", "cifar10", "svhn", "mnist-adam", "mnist-latent", "mnist-paper", "cifar10-paper"} <= set(
        recipes.names()
    )


def test_settings_override_in_order():
    recipe = recipes.load("mnist", ["optimizer.lr=0.5", "optimizer.lr=0.25", "precision.weights=real", "train.seed=7"])
    assert (recipe.optimizer.lr, recipe.precision.weights, recipe.train.seed) == (0.25, "real", 7)


@pytest.mark.parametrize(
    "setting, words",
    [
        ("precision.weights=-1", ["precision.weights", "-1"]),
        ("precision.weights=9", ["precision.weights", "9"]),
        ("precision.r=2.0", ["precision", "r must lie between 0 and H"]),
        ("precision.a=0", ["precision.a", "0"]),
        ("precision.activation_stages=[2,3]", ["activation_stages must fall", "[2, 3]"]),
        ("precision.activation_stages=[1]", ["activation_stages must", "stay above activations", "activations = 1"]),
        ("precision.shortcuts=1", ["shortcuts must be 0, or 2 to 7", "got 1 with activations = 1"]),
        ("precision.shortcuts=8", ["precision.shortcuts", "less than or equal to 7", "8"]),
        ("precision.activation_stages=3", ["precision.activation_stages", "list", "3"]),
        ("optimizer.m=0", ["optimizer.m", "0"]),
        ("optimizer.m=nan", ["optimizer.m", "nan"]),
        ("optimizer.beta1=1.0", ["optimizer.beta1"]),
        ("train.epochs=0", ["train.epochs", "0"]),
        ("train.batch=many", ["train.batch", "many"]),
        ("train.loss=hinge", ["train.loss", "squared-hinge"]),
        ("train.epoch=3", ["unknown key", "train.epoch", "epochs"]),
        ("training.epochs=3", ["unknown key", "training", "train"]),
        ("network.layers=32C5-MP2", ["network", "MP2"]),
        ("network.layers=lenet", ["network", "lenet"]),
        ("data.name=imagenet", ["data.name", "imagenet"]),
        ("epochs=3", ["epochs=3", "optimizer.lr=0.05"]),
        ("name.x=3", ["name"]),
        ("precision.latent=true", None),
    ],
)
def test_wrong_settings_are_named(setting, words):
    if words is None:
        assert recipes.load("mnist", [setting]).precision.latent
        return
    with pytest.raises(GxnorError) as error:
        recipes.load("mnist", [setting])
    message = str(error.value)
    assert all(word in message for word in words), message
    assert len(message.splitlines()) <= 2


@pytest.mark.parametrize(
    "settings, words",
    [
        (["precision.activations=real", "precision.activation_stages=[3]"], "activations = 'real'"),
        (["train.epochs=2", "precision.activation_stages=[3, 2]"], "makes 3 stages, but train.epochs is 2"),
        (["train.gradient_bits=1"], "gradient_bits"),
        (["train.gradient_bits=9"], "gradient_bits"),
        (["train.gradient_bits=5.5"], "gradient_bits"),
        (["train.arithmetic=ints"], "arithmetic"),
        (["train.arithmetic=integer", "train.compile=true"], "compile"),
        (["train.arithmetic=integer", "train.bfloat16=true"], "bfloat16"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(GxnorError, match=words):
        recipes.load("mnist", settings)


@pytest.mark.parametrize(
    "settings, arithmetic",
    [
        ([], "integer"),
        (["precision.weights=2", "precision.activations=0"], "integer"),
        (["precision.activations=real"], "float"),
        (["train.compile=true"], "float"),
        (["train.bfloat16=true"], "float"),
        (["train.arithmetic=float"], "float"),
    ],
)
def test_on_a_cpu_networks_of_states_train_on_integers(settings, arithmetic, implementation):
    chosen = recipes.load("mnist", ["train.device=cpu", *settings]).train.arithmetic
    assert chosen == (arithmetic if implementation == "native" else "float")


def test_the_recipe_in_a_run_folder_keeps_its_arithmetic(tmp_path, without_native):
    stored = tmp_path / "recipe.toml"
    stored.write_text(recipes.dump(recipes.load("mnist", ["train.arithmetic=integer"])))
    assert recipes.load(str(stored)).train.arithmetic == "integer"


def test_latent_real_weights_make_no_sense():
    with pytest.raises(GxnorError, match="latent"):
        recipes.load("mnist", ["precision.weights=real", "precision.latent=true"])


@pytest.mark.parametrize("text, words", [("epochs = ", "not valid TOML"), ("[data]\nname = 'mnist'\n", "validation")])
def test_files_that_cannot_be_used(text, words, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(GxnorError, match=words):
        recipes.load(str(path))


def test_missing_recipes_are_named_with_those_that_exist(tmp_path):
    with pytest.raises(GxnorError, match="digits"):
        recipes.load("minst")
    with pytest.raises(GxnorError, match="nowhere"):
        recipes.load(str(tmp_path / "nowhere.toml"))


# tomli#304
@pytest.mark.parametrize("begin", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n", b"\xef\xbb\xbf# mine\n"])
def test_a_recipe_with_a_byte_order_mark_is_read(begin, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(begin + recipes.dump(recipes.load("mnist")).encode())
    assert recipes.load(str(path)) == recipes.load("mnist")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp1252"])
def test_a_recipe_in_another_encoding_is_said_to_be(encoding, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(("# \u20ac\n" + recipes.dump(recipes.load("mnist"))).encode(encoding))
    with pytest.raises(GxnorError, match=r"mine\.toml is not UTF-8 text .*: save it as UTF-8"):
        recipes.load(str(path))


@pytest.mark.parametrize(
    "text, missing",
    [
        ("", "data.name, data.validation, network.layers, train.epochs, train.batch"),
        ("[data]\nname = 'mnist'\n[train]\nbatch = 5", "data.validation, network.layers, train.epochs"),
        ("[network]\npadding = 'same'\n[data]\nvalidation = 3", "data.name, network.layers, train.epochs, train.batch"),
    ],
)
def test_all_keys_that_are_missing_are_named_at_once(text, missing, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(GxnorError, match=f"the recipe lacks {missing}, which have no default$"):
        recipes.load(str(path))


def test_a_misspelt_key_is_named_beside_what_it_leaves_missing(tmp_path):
    path = tmp_path / "mine.toml"
    text = recipes.dump(recipes.load("mnist")).replace("epochs", "epoch")
    path.write_text(text)
    with pytest.raises(GxnorError, match=r"lacks train\.epochs, .*unknown key 'train\.epoch'"):
        recipes.load(str(path))


def test_the_documentation_names_the_keys_without_defaults():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs/runs.md").read_text()
    keys = [key for name in ("data", "network", "train") for key in recipes._required(name)]
    assert ", ".join(f"`{key}`" for key in keys[:-1]) + f" and `{keys[-1]}`" in text
