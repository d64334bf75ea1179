"""How often property tests try.

pytest                                   as often as each test says: seconds in all
pytest --hypothesis-profile=slow         twenty times as often
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

SLOW = 20

settings.register_profile("slow", settings.get_profile("default"), max_examples=SLOW * 100)


def tries(count: int, deadline: float = 2.0) -> settings:
    """So many examples, each of which must be answered within `deadline` seconds."""
    times = SLOW if settings.default is not None and settings.default.max_examples == SLOW * 100 else 1
    return settings(
        max_examples=count * times,
        deadline=1000 * deadline,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )
