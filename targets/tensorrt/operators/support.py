"""Which operators TensorRT has, and since when: the union of the tables of all releases.

Two entries stand against the tables: Reciprocal and Dropout are marked as missing up to 8.0 (the
first up to 8.4), while the parsers of those releases had them.
"""

from __future__ import annotations

from targets.tensorrt.versions import Number

ADDED: dict[Number, str] = {
    (7, 1): """
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
        Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh DepthToSpace Div
        Dropout Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gemm GlobalAveragePool
        GlobalMaxPool Greater HardSigmoid Identity ImageScaler InstanceNormalization LRN LSTM
        LeakyRelu Less Log LogSoftmax Loop MatMul Max MaxPool Mean Min Mul Neg Not Or PRelu Pad
        ParametricSoftplus Pow RNN RandomUniform RandomUniformLike Range Reciprocal ReduceL1
        ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare Relu Reshape Resize ScaledTanh Scan Selu Shape Sigmoid Sin Sinh Size Slice
        Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu
        Tile TopK Transpose Unsqueeze Upsample Where""",
    # quantisation: 7.x read it as a scale, with other rules; 8.0 has layers for it
    (8, 0): """
        Celu CumSum DequantizeLinear EyeLike GatherElements GlobalLpPool GreaterOrEqual If
        LessOrEqual LpNormalization LpPool NonMaxSuppression QuantizeLinear ReverseSequence""",
    (8, 2): "Einsum GatherND IsNaN Round Scatter ScatterElements ScatterND Sign",
    (8, 4): "HardSwish Shrink Xor",
    (8, 5): """
        GridSample MeanVarianceNormalization Mod NonZero OneHot RandomNormal RandomNormalLike
        RoiAlign Trilu""",
    (8, 6): "CastLike GroupNormalization IsInf LayerNormalization",
    (10, 0): "Gelu Hardmax Mish",
    (10, 1): "DeformConv",
    (10, 4): "BlackmanWindow HammingWindow HannWindow",
    (10, 5): "STFT",
    (10, 15): "Attention RMSNormalization RotaryEmbedding TensorScatter",
}
"""The release that brought an operator."""
SINCE: dict[str, Number] = {name: since for since, names in ADDED.items() for name in names.split()}
_NEVER = """
    AffineGrid Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im
    Compress ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear ImageDecoder
    MatMulInteger MaxRoiPool MaxUnpool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss
    Optional OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul RegexFullMatch
    SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
    SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringConcat StringNormalizer StringSplit
    TfIdfVectorizer Unique"""
NEVER = frozenset(_NEVER.split())
"""Operators that no release has."""
INSTEAD = {
    "ConvInteger": "quantise with QuantizeLinear and DequantizeLinear around a Conv",
    "DynamicQuantizeLinear": "quantise with fixed scales (QuantizeLinear, DequantizeLinear)",
    "Gelu": "it is 0.5 x (1 + Erf(x / sqrt 2))",
    "GridSample": "sample outside the network, or at fixed places with Resize or Gather",
    "GroupNormalization": "it is an InstanceNormalization between two Reshapes",
    "HardSwish": "it is x * HardSigmoid(x) with alpha 1/6 and beta 0.5",
    "LayerNormalization": "it is ReduceMean, Sub, Mul, Sqrt and Div",
    "MatMulInteger": "quantise with QuantizeLinear and DequantizeLinear around a MatMul",
    "MaxRoiPool": "RoiAlign is the nearest to it, in TensorRT 8.5",
    "MaxUnpool": "use Resize or ConvTranspose instead",
    "Mish": "it is x * Tanh(Softplus(x))",
    "NonMaxSuppression": "end the network before it, and suppress on the CPU",
    "OneHot": "it is a Gather from an identity matrix",
    "QLinearConv": "quantise with QuantizeLinear and DequantizeLinear around a Conv",
    "QLinearMatMul": "quantise with QuantizeLinear and DequantizeLinear around a MatMul",
    "RoiAlign": "end the network before it, and go on outside",
    "Round": "round outside the network",
    "Xor": "for booleans it is And(Or(a, b), Not(And(a, b)))",
}
"""What may stand in an operator's place where a release lacks it."""
