import asyncio

from redrop.study.ray_mailbox import Letter, Mailbox

LETTERS = [Letter("run", 1, {"kind": "step", "step": step}) for step in range(4)]


def test_the_mailbox_forgets_only_what_is_dealt_with():
    async def converse():
        mailbox = Mailbox()
        assert await mailbox.take(0) == (0, [])
        for letter in LETTERS[:3]:
            await mailbox.post(letter)
        assert await mailbox.take(0) == (0, LETTERS[:3])
        assert await mailbox.take(0) == (0, LETTERS[:3])
        assert await mailbox.take(2) == (2, LETTERS[2:3])
        await mailbox.post(LETTERS[3])
        assert await mailbox.take(3) == (3, LETTERS[3:])
        assert await mailbox.take(1) == (3, LETTERS[3:])
        assert await mailbox.take(4) == (4, [])

    asyncio.run(converse())


def test_who_waits_is_woken_by_a_letter():
    async def converse():
        mailbox = Mailbox()
        waiting = asyncio.create_task(mailbox.wait(0))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await mailbox.post(LETTERS[0])
        assert await asyncio.wait_for(waiting, 30) == (0, LETTERS[:1])
        assert await asyncio.wait_for(mailbox.wait(0), 30) == (0, LETTERS[:1])
        waiting = asyncio.create_task(mailbox.wait(1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await mailbox.post(LETTERS[1])
        assert await mailbox.take(1) == (1, LETTERS[1:2])
        assert await asyncio.wait_for(waiting, 30) == (1, LETTERS[1:2])

    asyncio.run(converse())
