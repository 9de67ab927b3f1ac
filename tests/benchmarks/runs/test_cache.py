"""The cache: each value is made once, and the least recently used goes first."""

from benchmarks.runs.cache import Cache


def test_the_least_recently_used_value_goes_first():
    cache, made = Cache(2), []
    for key in (1, 2, 1, 3, 1, 2):
        assert cache.get(key, lambda key=key: made.append(key) or -key) == -key
    # 1 stayed, 2 went when 3 came.
    assert made == [1, 2, 3, 2]
