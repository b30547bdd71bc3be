"""The finbert engine: a BERT classifier of financial sentiment, by transformers and torch."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from tapedeck.connectors.sentiment import bert
from tapedeck.connectors.sentiment.extras import module
from tapedeck.connectors.sentiment.scorer import LABEL_THRESHOLD, Model
from tapedeck.schemas.errors import Fatal

HUB_NAME = "ProsusAI/finbert"
"""What is loaded where no model is named."""
CONFIG = "config.json"
EXPORTED = "tapedeck.json"
"""The file that a folder for the onnx engine has."""
EXTRA = "ml"
_TOKENIZERS = ("tokenizer.json", "vocab.txt")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_OTHERS = ("tokenizer_config.json", "special_tokens_map.json")
_ON_HUB = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")


class Loaded(NamedTuple):
    """A model's parts; ``tokenizer``: that of the package tokenizers."""

    network: Any
    tokenizer: Any
    order: bert.Order
    model: Model
    max_tokens: int


class Finbert(bert.Bert):
    """FinBERT, from a folder or by the hub's name.

    ``probe``: whether the five sentences are asked at load. Only tests, and the export of a model that is
    found to be untrained, do without.
    """

    def __init__(self, model: str = "", threshold: float = LABEL_THRESHOLD, *, probe: bool = True) -> None:
        self.loaded = load(model or HUB_NAME)
        torch = module("torch", EXTRA)

        def run(ids: bert.Ints, mask: bert.Ints) -> Any:
            with torch.inference_mode():
                given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
                return self.loaded.network(**given).logits.numpy()

        super().__init__(self.loaded.model, (self.loaded.tokenizer, run), self.loaded.order, threshold)
        if probe:
            self.check()


def load(model: str) -> Loaded:
    """Reads a model. Raises Fatal if a part is missing, is not whole, or has other labels."""
    transformers, torch = module("transformers", EXTRA), module("torch", EXTRA)
    folder = folder_of(model)
    files = [*_one_of(folder, _TOKENIZERS, "tokenizer"), *_one_of(folder, _WEIGHTS, "weights"), CONFIG]
    config = bert.read_json(folder / CONFIG)
    order = bert.order_of(config.get("id2label") or {}, str(folder / CONFIG))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        ).backend_tokenizer
        network, told = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # a broken file raises what the library of its format raises
        raise Fatal(
            f"the model cannot be loaded: {error}",
            value=str(folder),
            remedy="take the whole folder as its authors publish it",
        ) from error
    if lost := sorted(told["missing_keys"]):
        raise Fatal(
            f"the model's file lacks {len(lost)} of the network's weights, as {lost[0]}",
            value=str(folder),
            remedy="name a model that was trained to classify, not a bare language model",
        )
    files += [name for name in _OTHERS if (folder / name).is_file()]
    versions = (f"torch {torch.__version__}", f"transformers {transformers.__version__}")
    digest = bert.digest_of(folder, files, *versions, bert.instruction_set())
    longest = int(config.get("max_position_embeddings") or bert.MAX_TOKENS)
    model_id = model if folder != Path(model) else folder.resolve().name
    found = Model("finbert", model_id, digest)
    return Loaded(network.eval(), bert.ready(tokenizer, longest), order, found, longest)


def folder_of(model: str) -> Path:
    """The folder of a model; by the hub's name it is downloaded first. Raises Fatal."""
    folder = Path(model)
    if folder.is_dir():
        if (folder / EXPORTED).is_file():
            raise Fatal(
                "the folder holds an exported model",
                value=model,
                remedy='set sentiment.engine = "onnx" for it',
            )
        return folder
    remedy = "set TAPE_SENTIMENT_MODEL, or `sentiment_model` under [deployment], to the model's folder"
    if not _ON_HUB.fullmatch(model):
        raise Fatal("the model's folder does not exist", value=model, remedy=remedy)
    hub = module("huggingface_hub", EXTRA)
    try:
        return Path(hub.snapshot_download(model, allow_patterns=[CONFIG, *_TOKENIZERS, *_WEIGHTS, *_OTHERS]))
    except Exception as error:  # the hub's client raises errors of its own, of the web, and of the disk
        raise Fatal(
            f"there is no such folder, and the hub did not give it: {error}", value=model, remedy=remedy
        ) from error


def _one_of(folder: Path, names: tuple[str, ...], what: str) -> list[str]:
    """The first of ``names`` that is there. Raises Fatal if none is."""
    for name in names:
        if (folder / name).is_file():
            return [name]
    raise Fatal(
        f"the model's folder has no {what}: neither of {', '.join(names)}",
        value=str(folder),
        remedy="copy it from where the model is published; one of another model gives wrong scores",
    )
