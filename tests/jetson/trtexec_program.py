"""What trtexec does from its first line to its last."""

import trtexec_text as text
from trtexec_build import build
from trtexec_call import Call, GaveUpError
from trtexec_load import infer, load


def main(here, argv):
    call = Call(here, argv)
    try:
        run(call, argv[1:])
    except GaveUpError:
        call.log.test("FAILED")
        return 1
    call.log.test("PASSED")
    return 0


def run(call, words):
    call.parse(words)
    text.device(call.log, call.board)
    call.log.info()
    if "--onnx" not in call.given:
        return infer(call, *load(call))
    engine = build(call)
    for flag in ("--buildOnly", "--skipInference"):
        if flag in call.given:
            return call.log.info("Skipped inference phase since %s is added." % flag)
    return infer(call, *engine)
