"""All network cards of a guest are held, and after a power cut all of them go on at host 2."""

from cut import cut_power
from held import watch_held
from witness import PINGS, REQUESTS

GUEST = ("pvh", "hvm")
ON_REQUEST = True
CARDS = {"pvh": [f"mac=00:16:3e:11:33:0{card},bridge=xenbr0" for card in range(3)],
         "hvm": [f"mac=00:16:3e:11:44:0{card},bridge=xenbr0,model=e1000" for card in range(3)]}


def run(lab):
    cards = CARDS[lab.guest]
    lab.restart_guest(cards)
    assert len(lab.macs()) == len(cards), lab.macs()
    sent = watch_held(lab)
    assert sent == {}, f"these left before their commit: {sent}"
    result = cut_power(lab, "-i 200 --timeout 1000")
    result.check()
    assert len(result.gaps_s) == len(cards) * len(REQUESTS + PINGS), result
    assert result.failover["announced_cards"] == len(cards), result.failover
    assert result.frames["rarp"] == len(cards), result.frames
    print(result)
