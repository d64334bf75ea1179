"""How often property tests try.

pytest                                   as often as each test says: seconds in all
pytest --hypothesis-profile=slow         twenty times as often
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

SLOW = 20

settings.register_profile("slow", settings.get_profile("default"), max_examples=SLOW * 100)


def tries(count: int, deadline: float = 2.0, shrink: bool = True) -> settings:
    """So many examples, each of which must be answered within `deadline` seconds.

    Args:
        shrink: whether to look for a smaller example of a failure, which takes minutes if an
            example takes a second.
    """
    times = SLOW if settings.default is not None and settings.default.max_examples == SLOW * 100 else 1
    return settings(
        max_examples=count * times,
        deadline=1000 * deadline,
        phases=[one for one in Phase if shrink or one not in (Phase.shrink, Phase.explain)],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )
