"""The onnx engine: an exported BERT classifier by ONNX Runtime and tokenizers, without torch."""

from pathlib import Path
from typing import Any

from tapedeck.connectors.sentiment import bert
from tapedeck.connectors.sentiment.extras import module
from tapedeck.connectors.sentiment.finbert import EXPORTED
from tapedeck.connectors.sentiment.scorer import LABEL_THRESHOLD, Model
from tapedeck.schemas.errors import Fatal

EXTRA = "onnx"
NETWORK = "model.onnx"
TOKENIZER = "tokenizer.json"
FORMAT = 1
INPUTS = ("input_ids", "attention_mask")


class Onnx(bert.Bert):
    """A folder that `tape model export` wrote.

    int8 scores one text at a time: it measures the range of its numbers over the batch, so that a text's
    score would depend on the texts beside it.
    """

    def __init__(self, model: str = "", threshold: float = LABEL_THRESHOLD, *, probe: bool = True) -> None:
        runtime, tokenizers = module("onnxruntime", EXTRA), module("tokenizers", EXTRA)
        folder = Path(model)
        if not model or not (folder / EXPORTED).is_file():
            raise Fatal(
                "the onnx engine needs a folder that tape model export wrote",
                value=model,
                remedy="set TAPE_SENTIMENT_MODEL, or `sentiment_model` under [deployment], to it",
            )
        for name in (NETWORK, TOKENIZER):
            if not (folder / name).is_file():
                raise Fatal(
                    f"the exported folder has no {name}", value=model, remedy="export the model again"
                )
        card = bert.read_json(folder / EXPORTED)
        if card.get("format") != FORMAT:
            raise Fatal(
                "the folder was exported by another release",
                value=card.get("format"),
                remedy="export it again",
            )
        order = bert.order_of(dict(enumerate(card.get("labels") or [])), str(folder / EXPORTED))
        session, tokenizer = _opened(runtime, tokenizers, folder)

        def run(ids: bert.Ints, mask: bert.Ints) -> Any:
            return session.run(None, dict(zip(INPUTS, (ids, mask), strict=True)))[0]

        about = (f"onnxruntime {runtime.__version__}", bert.instruction_set())
        digest = bert.digest_of(folder, (NETWORK, TOKENIZER, EXPORTED), *about)
        found = Model("onnx", f"{card['model_id']} {card['precision']}", digest)
        rows = {} if card["precision"] == "fp32" else {"rows": 1}
        ready = bert.ready(tokenizer, int(card["max_tokens"]))
        super().__init__(found, (ready, run), order, threshold, **rows)
        if probe:
            self.check()


def _opened(runtime: Any, tokenizers: Any, folder: Path) -> tuple[Any, Any]:
    runtime.disable_telemetry_events()
    try:
        session = runtime.InferenceSession(str(folder / NETWORK), providers=["CPUExecutionProvider"])
        return session, tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # both raise errors of their own, some of class Exception itself
        raise Fatal(
            f"the exported model cannot be loaded: {error}", value=str(folder), remedy="export it again"
        ) from error
