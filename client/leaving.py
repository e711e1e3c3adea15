"""Leaving the terminal while messages are not acknowledged: it is said, and can be waited for."""

import asyncio

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText

from client.front import Chat


def unfinished(waiting: int) -> str:
    """What a person is told who wants to leave."""
    some = "1 message is" if waiting == 1 else f"{waiting} messages are"
    return (
        f"{some} not acknowledged yet: kept on this disk, and sent when you talk to this contact next. Waiting, and "
        "leaving when all are acknowledged. Enter leaves now, Ctrl-C stays."
    )


async def last_line(chat: Chat, prompt: PromptSession[str]) -> str | None:
    """Wait until all is acknowledged. The line that was typed meanwhile, empty to leave; None to stay."""
    flushed = asyncio.ensure_future(chat.flush(None))

    def leave(_: object = None) -> None:
        if flushed.done() and prompt.app.is_running and not prompt.app.is_done:
            prompt.app.exit(result="")

    flushed.add_done_callback(leave)
    try:
        return await prompt.prompt_async(FormattedText([("class:warn", "leaving > ")]), pre_run=leave)
    except EOFError:
        return ""
    except KeyboardInterrupt:
        return None
    finally:
        flushed.cancel()
