//! A client: its uploads, what it was told, and how it looks after them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{
    oracle::{Belief, Known, Line, Made, Promise},
    tally::Tally,
};
use crate::{
    chunks::numbers,
    client::{Answer, Conn, Request},
    digest::sha256,
    random::Random,
    tus::request,
};

/// One of several clients. All bytes of its uploads are known, so each can be compared.
#[derive(Debug)]
pub struct Client {
    pub random: Random,
    pub uploads: BTreeMap<u64, Known>,
    /// Deleted, or gone by themselves.
    pub ended: BTreeSet<u64>,
    /// Deleted, to be looked for once more.
    buried: Vec<Known>,
    /// Digests of all files that there may be.
    pub contents: HashSet<[u8; 32]>,
    pub tally: Tally,
    next: u64,
    doing: &'static str,
}

impl Client {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::seeded(seed),
            uploads: BTreeMap::new(),
            ended: BTreeSet::new(),
            buried: Vec::new(),
            contents: HashSet::new(),
            tally: Tally::default(),
            next: 0,
            doing: "",
        }
    }

    /// Asks until there is no word any more.
    pub fn play(&mut self, line: &Line<'_>) {
        while self.act(line).is_some() {}
        *self.tally.cut.entry(self.doing).or_default() += 1;
    }

    /// What it does now, for the summary.
    pub fn does(&mut self, what: &'static str) {
        self.doing = what;
    }

    /// The answer; none if the server is about to end, and the request was carried out or not.
    pub fn ask(&mut self, line: &Line<'_>, request: &Request) -> Option<Answer> {
        self.tally.requests += 1;
        let answer = Conn::try_open(line.server.address());
        let answer = answer.and_then(|mut connection| connection.try_ask(request));
        self.heard(line, request, answer)
    }

    pub fn heard(
        &self,
        line: &Line<'_>,
        request: &Request,
        answer: std::io::Result<Answer>,
    ) -> Option<Answer> {
        let dark = line.weather.dark.load(Ordering::SeqCst);
        match answer {
            // With the power the answer went, too. A file system that is shut down is not quite as
            // strict: a flush that runs at that moment may succeed without a write.
            Ok(_) if dark => None,
            Ok(answer) => Some(answer),
            Err(error) => {
                // A download that cannot be read to its end breaks off.
                let known = dark || line.weather.dying.load(Ordering::SeqCst);
                let what = (self.doing, &request.method, &request.target);
                assert!(known, "{what:?}: {error}");
                None
            }
        }
    }

    /// A new upload is known under a number.
    pub fn keep(&mut self, known: Known) -> u64 {
        self.tally.uploads += 1;
        self.next += 1;
        self.contents.insert(sha256(&known.parts.bytes));
        self.uploads.insert(self.next, known);
        self.next
    }

    pub fn known(&mut self, number: u64) -> &mut Known {
        self.uploads.get_mut(&number).unwrap()
    }

    /// An upload out of those that `fits`.
    pub fn pick(&mut self, fits: impl Fn(&Known) -> bool) -> Option<u64> {
        let all = self.uploads.iter().filter(|(_, known)| fits(known));
        let all: Vec<u64> = all.map(|(number, _)| *number).collect();
        (!all.is_empty()).then(|| all[self.random.below(all.len())])
    }

    /// It was deleted.
    pub fn bury(&mut self, number: u64) {
        let mut known = self.uploads.remove(&number).unwrap();
        known.deleted = Belief::Sure;
        self.buried.push(known);
        self.ended.insert(number);
    }

    /// An answer says that there is no such upload: that must be possible.
    pub fn is_gone(&mut self, line: &Line<'_>, number: u64, answer: &Answer) {
        let known = self.uploads.remove(&number).unwrap();
        let possible = known.may_be_gone(line.rules) || self.may_end(line, &known);
        assert!(possible, "{}: {answer:?}, and it was {known:?}", self.doing);
        self.tally.gone += 1;
        self.ended.insert(number);
    }

    /// A final upload that waits ends with any of its parts.
    fn may_end(&self, line: &Line<'_>, known: &Known) -> bool {
        let Made::Joined(pieces) = &known.made else { return false };
        let gone = |piece: &u64| {
            self.ended.contains(piece)
                || self.uploads.get(piece).is_none_or(|piece| piece.may_be_gone(line.rules))
        };
        known.finished != Belief::Sure && pieces.iter().any(gone)
    }

    /// Looks at everything, as after a restart.
    pub fn check(&mut self, line: &Line<'_>) -> Option<()> {
        for number in self.uploads.keys().copied().collect::<Vec<_>>() {
            self.look(line, number)?;
        }
        while let Some(mut known) = self.buried.pop() {
            if known.url.is_none() {
                continue;
            }
            if line.rules.power {
                // The deletion may be lost; what is back is an upload like any other.
                known.at = None;
                let number = self.keep(known);
                self.look(line, number)?;
                continue;
            }
            let Some(head) = self.ask(line, &request("HEAD", known.url())) else {
                self.buried.push(known);
                return None;
            };
            assert!([404, 410].contains(&head.status), "it is back: {head:?}, {known:?}");
        }
        Some(())
    }

    /// The power went and came back.
    pub fn weaken(&mut self, promise: Promise) {
        self.uploads.values_mut().chain(&mut self.buried).for_each(|known| known.weaken(promise));
    }

    /// After a restart nobody knows where an upload stands, and what was over has its time again
    /// (STORE-84): the server will have started within the grace of the oracle.
    pub fn forget_offsets(&mut self) {
        for known in self.uploads.values_mut() {
            (known.at, known.late) = (None, None);
            known.active.1 = Instant::now();
        }
    }

    /// Compares an upload with what is known of it, and learns where it stands.
    pub fn look(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        if !self.find(line, number)? || !self.head(line, number)? {
            return Some(());
        }
        self.status(line, number)?;
        if self.uploads.contains_key(&number) {
            self.get(line, number)?;
        }
        Some(())
    }

    /// Finds out the id of a chunk upload.
    fn find(&mut self, line: &Line<'_>, number: u64) -> Option<bool> {
        let known = self.known(number);
        if known.url.is_some() {
            return Some(true);
        }
        let asked = known.parts.status_request();
        let answer = self.ask(line, &asked)?.expect(200);
        let status = answer.json();
        match status["upload_id"].as_str() {
            Some(id) if status["state"] != "none" => {
                let known = self.known(number);
                known.url = Some(format!("/files/{id}"));
                known.created = Belief::Sure;
                Some(true)
            }
            _ => {
                self.is_gone(line, number, &answer);
                Some(false)
            }
        }
    }

    fn head(&mut self, line: &Line<'_>, number: u64) -> Option<bool> {
        let asked = request("HEAD", self.known(number).url());
        // Time goes on while the answer is on its way.
        let mut overdue = self.known(number).must_be_gone(line.rules);
        let mut head = self.ask(line, &asked)?;
        for _ in 0..400 {
            // On a slow disk its holder may take longer than a newcomer waits.
            let busy = head.status == 423;
            if !busy && (head.status != 200 || head.header("Upload-Offset").is_some()) {
                break;
            }
            if !busy && !self.must_complete(line, number) {
                let known = self.known(number);
                assert!(known.is_joined() && known.finished != Belief::Sure, "{head:?} {known:?}");
                return Some(false);
            }
            thread::sleep(Duration::from_millis(50));
            overdue = self.known(number).must_be_gone(line.rules);
            head = self.ask(line, &asked)?;
        }
        if [404, 410].contains(&head.status) {
            self.is_gone(line, number, &head);
            return Some(false);
        }
        let doing = self.doing;
        let known = self.known(number);
        let offset = head.clone().expect(200).offset();
        assert!(!overdue, "{doing}: {head:?} of {known:?}");
        let (low, high) = (known.told.prefix(), known.sent.prefix());
        assert!(low <= offset, "{doing}: {low} were told, {offset} are left: {known:?}");
        assert!(offset <= high, "{doing}: {high} were sent, {offset} are there: {known:?}");
        let length = head.header("Upload-Length").map(|length| length.parse().unwrap());
        assert!(length.is_none_or(|length: u64| length == known.length()), "{head:?} {known:?}");
        assert!(length.is_some() || !known.length_told, "{head:?} {known:?}");
        known.length_told |= length.is_some();
        known.told.add(0, offset);
        known.settled |= known.partial && known.is_whole();
        if known.at.is_none() {
            known.active.1 = Instant::now();
        }
        (known.at, known.deleted, known.created) = (Some(offset), Belief::No, Belief::Sure);
        Some(true)
    }

    /// A final upload of which all parts are whole and here to stay.
    fn must_complete(&self, line: &Line<'_>, number: u64) -> bool {
        let known = &self.uploads[&number];
        let Made::Joined(pieces) = &known.made else { return false };
        let whole = |piece: &u64| self.uploads.get(piece).is_some_and(Known::is_whole);
        !self.may_end(line, known) && pieces.iter().all(whole)
    }

    pub fn status(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        let known = self.known(number);
        if known.is_joined() || !known.length_told || known.length() == 0 {
            return Some(());
        }
        let target = format!("/upload/status?upload_id={}", known.id());
        let answer = self.ask(line, &Request::new("GET", &target))?.expect(200);
        let status = answer.json();
        if status["state"] == "none" {
            self.is_gone(line, number, &answer);
            return Some(());
        }
        let merged = status["state"] == "merged";
        let listed = numbers(&status["uploaded"]);
        let known = self.known(number);
        for index in 0..known.parts.total {
            let ((from, to), there) = (known.range(index), listed.contains(&(index as u64)));
            assert!(there || !known.told.covers(from, to), "{index} is lost: {status} {known:?}");
            assert!(!there || known.sent.covers(from, to), "{index} is new: {status} {known:?}");
            if there {
                known.told.add(from, to);
            }
        }
        if merged {
            assert!(known.may_be_whole(), "{status} {known:?}");
            assert_eq!(status["result"]["composite_sha256"], known.parts.composite(), "{known:?}");
            known.is_finished(None);
        }
        Some(())
    }

    /// What is served is right, and what was told to be finished is served.
    pub fn get(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        let asked = Request::new("GET", self.known(number).url());
        let answer = self.ask(line, &asked)?;
        let known = self.known(number);
        if answer.status == 200 {
            assert!(known.may_be_whole() && !known.partial, "{answer:?} of {known:?}");
            let right = answer.body == known.parts.bytes;
            assert!(right, "wrong bytes are served: {answer:?} of {known:?}");
            known.is_finished(None);
            let read = answer.body.len();
            self.tally.finished.insert(number);
            self.tally.bytes += read;
            return Some(());
        }
        let answer = answer.expect_one(&[404, 410]);
        if known.finished == Belief::Sure || answer.status == 410 {
            self.is_gone(line, number, &answer);
        }
        Some(())
    }
}
