import asyncio

from redrop.study.ray_mailbox import Letter, Mailbox


def test_the_mailbox_wakes_who_waits_and_forgets_only_what_is_dealt_with():
    async def converse():
        mailbox = Mailbox()
        assert await mailbox.take(0, 0) == []
        assert await mailbox.take(0, 0.01) == []
        waiting = asyncio.create_task(mailbox.take(0, 30))
        await asyncio.sleep(0)
        letters = [Letter("run", 1, {"kind": "step", "step": step}) for step in range(4)]
        for letter in letters[:3]:
            await mailbox.post(letter)
        assert await waiting == letters[:3]
        assert await mailbox.take(0, 30) == letters[:3]
        assert await mailbox.take(2, 30) == letters[2:3]
        waiting = asyncio.create_task(mailbox.take(3, 30))
        await asyncio.sleep(0)
        await mailbox.post(letters[3])
        assert await waiting == letters[3:]
        assert await mailbox.take(4, 0.01) == []

    asyncio.run(converse())
