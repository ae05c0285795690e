//! Places of which there are few, and who has them. Nobody is held back while some are free. Once
//! they are all taken, each address that has or wants some has a share, all places divided by
//! their number, and whoever has more gives way to whoever has less.
//!
//! Who comes first and stays would else keep everybody out, and a body of a few bytes a second
//! costs nothing to keep. Where everybody has one address, as behind a proxy that names nobody,
//! that one has all, and nobody ever gives way.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Bytes that everybody has to their credit when it is asked who is slow: who has only begun is
/// not.
const CREDIT: u64 = 64 * 1024;

/// Whom a place counts for; `None` for somebody who stands for many, as a proxy does that names
/// nobody. They never give way.
pub(crate) type Whose = Option<IpAddr>;

/// Whom an address stands for: of IPv6 its network of 64 bits, of which every host has all
/// addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// All places.
#[derive(Debug)]
pub(crate) struct Shares {
    all: usize,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    taken: usize,
    next: u64,
    crowds: HashMap<Whose, Crowd>,
    waiting: BTreeMap<u64, (Whose, oneshot::Sender<Share>)>,
}

/// Those of one address.
#[derive(Debug, Default)]
struct Crowd {
    /// Those who have a place, want one, or are about to give theirs up.
    present: usize,
    /// The places of those who were not asked for them.
    held: BTreeMap<u64, Pulse>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    whose: Whose,
    number: u64,
    pulse: Pulse,
}

/// What goes on in a place: bytes that are moved, and whether it is to be given up.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Beat>);

#[derive(Debug)]
struct Beat {
    since: tokio::time::Instant,
    moved: AtomicU64,
    leave: CancellationToken,
}

/// Somebody who waits, until it is dropped.
struct Stand<'a>(&'a Shares, Whose, u64);

impl Shares {
    pub(crate) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, standing: Mutex::default() })
    }

    /// A place that is free now.
    pub(crate) fn try_take(self: &Arc<Self>, whose: Whose) -> Option<Share> {
        let mut standing = self.lock();
        if standing.taken >= self.all {
            return None;
        }
        standing.taken += 1;
        standing.come(whose);
        Some(standing.seat(self, whose))
    }

    /// Asks for the slowest place of the addresses with the most of them, if that is more than a
    /// share and the newcomer's address has less than one. Was there any? It comes to whoever
    /// waits and has the least.
    pub(crate) fn make_room(&self, newcomer: Whose) -> bool {
        let mut standing = self.lock();
        let own = standing.crowds.get(&newcomer).map_or(0, |crowd| crowd.present);
        let crowds = standing.crowds.len() + usize::from(own == 0);
        let share = (self.all / crowds).max(1);
        if own >= share {
            return false;
        }
        let Some((whose, slowest)) = standing.slowest_of_the_largest(share) else { return false };
        let crowd = standing.crowds.get_mut(&whose);
        let asked = crowd.and_then(|crowd| crowd.held.remove(&slowest));
        asked.inspect(|pulse| pulse.0.leave.cancel()).is_some()
    }

    /// Waits for a place: the next one that is free is for whoever waits and has the least, of
    /// those for the one that came first.
    pub(crate) async fn wait(self: &Arc<Self>, whose: Whose, patience: Duration) -> Option<Share> {
        let (hand, place) = oneshot::channel();
        let stand = {
            let mut standing = self.lock();
            let number = standing.number();
            standing.come(whose);
            standing.waiting.insert(number, (whose, hand));
            Stand(self, whose, number)
        };
        // It may have become free before somebody stood here.
        self.hand_out();
        let place = tokio::time::timeout(patience, place).await.ok()?.ok();
        drop(stand);
        place
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Gives free places to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let mut standing = self.lock();
            if standing.taken >= self.all {
                return;
            }
            let Some(first) = standing.neediest() else { return };
            let Some((whose, hand)) = standing.waiting.remove(&first) else { return };
            standing.taken += 1;
            standing.come(whose);
            let share = standing.seat(self, whose);
            drop(standing);
            // Who has just left hands it back.
            let _ = hand.send(share);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    fn come(&mut self, whose: Whose) {
        self.crowds.entry(whose).or_default().present += 1;
    }

    fn go(&mut self, whose: Whose) {
        let Some(crowd) = self.crowds.get_mut(&whose) else { return };
        crowd.present -= 1;
        if crowd.present == 0 {
            self.crowds.remove(&whose);
        }
    }

    fn seat(&mut self, shares: &Arc<Shares>, whose: Whose) -> Share {
        let (number, pulse) = (self.number(), Pulse::begin());
        if let Some(crowd) = self.crowds.get_mut(&whose) {
            crowd.held.insert(number, pulse.clone());
        }
        Share { shares: shares.clone(), whose, number, pulse }
    }

    /// The slowest place of the address that has the most, if that is more than `share`; of all
    /// that have as many, so that it is no matter of chance.
    fn slowest_of_the_largest(&self, share: usize) -> Option<(Whose, u64)> {
        let known = || self.crowds.iter().filter(|(whose, _)| whose.is_some());
        let most = known().map(|(_, crowd)| crowd.held.len()).max().filter(|most| *most > share)?;
        known()
            .filter(|(_, crowd)| crowd.held.len() == most)
            .flat_map(|(whose, crowd)| crowd.held.iter().map(|held| (*whose, held)))
            .min_by_key(|(_, (number, pulse))| (pulse.rate(), **number))
            .map(|(whose, (number, _))| (whose, *number))
    }

    /// Who waits and has the least, and of those the first.
    fn neediest(&self) -> Option<u64> {
        let held = |whose| self.crowds.get(whose).map_or(0, |crowd| crowd.held.len());
        let first = self.waiting.iter().min_by_key(|(_, (whose, _))| held(whose));
        first.map(|(number, _)| *number)
    }
}

impl Share {
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.pulse
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut standing = self.shares.lock();
        standing.taken -= 1;
        if let Some(crowd) = standing.crowds.get_mut(&self.whose) {
            crowd.held.remove(&self.number);
        }
        standing.go(self.whose);
        let awaited = !standing.waiting.is_empty();
        drop(standing);
        if awaited {
            self.shares.hand_out();
        }
    }
}

impl Drop for Stand<'_> {
    fn drop(&mut self) {
        let mut standing = self.0.lock();
        // Dropped behind the lock.
        let hand = standing.waiting.remove(&self.2);
        standing.go(self.1);
        drop(standing);
        drop(hand);
    }
}

impl Pulse {
    /// Of a place that nobody is asked for.
    pub(crate) fn begin() -> Self {
        let (moved, leave) = (AtomicU64::new(0), CancellationToken::new());
        Self(Arc::new(Beat { since: tokio::time::Instant::now(), moved, leave }))
    }

    /// So many bytes came or went.
    pub(crate) fn moved(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Is cancelled when the place is to be given up.
    pub(crate) fn leave(&self) -> &CancellationToken {
        &self.0.leave
    }

    /// Bytes in a second, about.
    fn rate(&self) -> u128 {
        let moved = self.0.moved.load(Ordering::Relaxed).saturating_add(CREDIT);
        u128::from(moved) * 1000 / self.0.since.elapsed().as_millis().max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    const ONE: Whose = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    const TWO: Whose = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));

    fn is_asked(share: &Share) -> bool {
        share.pulse.leave().is_cancelled()
    }

    #[tokio::test]
    async fn the_slowest_of_who_has_more_than_its_share_gives_way_to_who_has_less() {
        let places = Shares::new(4);
        let mut greedy: Vec<Share> = (0..4).map(|_| places.try_take(ONE).unwrap()).collect();
        // Far apart: their rates also differ by when each of them came.
        for (share, digits) in greedy.iter().zip([18, 6, 14, 10]) {
            share.pulse.moved(10_usize.pow(digits));
        }
        assert!(!places.make_room(ONE) && places.try_take(TWO).is_none());
        assert!(places.make_room(TWO));
        assert_eq!(greedy.iter().map(is_asked).collect::<Vec<_>>(), [false, true, false, false]);
        // Who came before and has the most gets nothing.
        let (other, own) = tokio::join!(places.wait(ONE, SOON), async {
            let (place, ()) = tokio::join!(places.wait(TWO, SOON), async {
                drop(greedy.remove(1));
            });
            place
        });
        assert!(other.is_none());
        let own = own.unwrap();
        assert!(places.make_room(TWO) && !is_asked(&greedy[0]) && is_asked(&greedy[2]));
        // Two of four each, whatever comes.
        drop(greedy.pop());
        let second = places.try_take(TWO).unwrap();
        assert!(!places.make_room(TWO) && !places.make_room(ONE));
        assert!(![&own, &second, &greedy[0], &greedy[1]].into_iter().any(is_asked));
        drop((own, second, greedy));
        assert!(places.lock().crowds.is_empty() && places.lock().taken == 0);
    }

    // As many addresses as make chance improbable: they are kept in no order.
    #[test]
    fn where_several_have_as_many_the_slowest_of_all_gives_way() {
        let places = Shares::new(16);
        let address = |last| Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, last)));
        let greedy: Vec<Share> =
            (0..16).map(|place| places.try_take(address(place / 4)).unwrap()).collect();
        for (place, share) in greedy.iter().enumerate() {
            share.pulse.moved(if place == 9 { 0 } else { 1 << 50 });
        }
        assert!(places.make_room(ONE));
        let asked: Vec<usize> = (0..16).filter(|place| is_asked(&greedy[*place])).collect();
        assert_eq!(asked, [9]);
    }

    #[tokio::test]
    async fn whoever_stands_for_many_never_gives_way_and_is_never_the_only_one_without() {
        let places = Shares::new(2);
        let proxy = [places.try_take(None).unwrap(), places.try_take(None).unwrap()];
        assert!(!places.make_room(ONE));
        drop(proxy);
        let direct = [places.try_take(ONE).unwrap(), places.try_take(ONE).unwrap()];
        assert!(places.make_room(None));
        assert_eq!(direct.iter().filter(|share| is_asked(share)).count(), 1);
    }

    #[tokio::test]
    async fn places_come_back_from_whoever_leaves_while_waiting() {
        let places = Shares::new(1);
        let taken = places.try_take(ONE).unwrap();
        assert!(places.wait(TWO, SOON).await.is_none());
        let (first, second) = tokio::join!(places.wait(None, SOON), async {
            let second = places.wait(TWO, SOON);
            let (second, ()) = tokio::join!(second, async { drop(taken) });
            second
        });
        assert!(first.is_some() && second.is_none());
        drop(first);
        assert!(places.try_take(TWO).is_some());
        assert!(places.lock().crowds.is_empty() && places.waiting() == 0);
    }

    #[test]
    fn an_address_of_ipv6_stands_for_its_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:127.0.0.1"), of("127.0.0.1"));
    }
}
