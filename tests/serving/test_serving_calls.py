import threading

from serving import calls


class Context:
    """What a ServicerContext does when its call ends."""

    def __init__(self, ended=False):
        self.ended = ended
        self.callbacks = []

    def add_callback(self, callback):
        self.callbacks.append(callback)
        return not self.ended


def test_the_call_is_current_within_the_block_and_in_its_thread_only():
    seen = []
    assert calls.current() is None
    with calls.following(Context()) as call:
        assert calls.current() is call
        other = threading.Thread(target=lambda: seen.append(calls.current()))
        other.start()
        other.join()
    assert calls.current() is None
    assert seen == [None]


def test_a_caller_that_leaves_is_told_of_once():
    context, told = Context(), []
    with calls.following(context) as call, call.when_gone(lambda: told.append(call.gone)):
        assert told == []
        context.callbacks[0]()
        context.callbacks[0]()
        assert told == [True]


def test_a_caller_that_had_left_before_is_told_of_at_once():
    told = []
    with calls.following(Context(ended=True)) as call, call.when_gone(lambda: told.append(1)):
        assert told == [1]


def test_after_the_block_nobody_is_told():
    context, told = Context(), []
    with calls.following(context) as call:
        with call.when_gone(lambda: told.append(1)):
            pass
        context.callbacks[0]()
    assert told == []
