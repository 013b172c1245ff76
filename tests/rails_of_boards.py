"""The power sensors of some boards, as their files have them."""

from __future__ import annotations

from edgecc.hardware import Power, Rail


def power(*rails: tuple[str, float, bool] | tuple[str, float, bool, str]) -> Power:
    return Power(
        rails=tuple(
            Rail(name=name, volts=volts, in_total=in_total, aliases=tuple(alias), feeds="something")
            for name, volts, in_total, *alias in rails
        )
    )


IN = ("VDD_IN", 5, True), ("VDD_CPU_GPU_CV", 5, False), ("VDD_SOC", 5, False)
BOARDS = {
    "xavier": power(
        *((name, 19, True) for name in ("GPU", "CPU", "SOC", "CV", "VDDRQ")), ("SYS5V", 5, True)
    ),
    "xavier-nx": power(*IN),
    "orin-nx": power(*IN),
    "orin": power(
        ("VDD_GPU_SOC", 19, True),
        ("VDD_CPU_CV", 19, True),
        ("VIN_SYS_5V0", 5, True),
        ("VDDQ_VDD2_1V8AO", 5, False),
    ),
    "nano": power(("POM_5V_IN", 5, True), ("POM_5V_GPU", 5, False), ("POM_5V_CPU", 5, False)),
    "tx2": power(("VDD_IN", 19, True), ("VDD_SYS_GPU", 19, False, "VDD_GPU")),
}
