//! What offset clients do.

use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{
    client::Client,
    oracle::{Belief, CHUNK, Known, Line, Made},
};
use crate::{
    chunks::Parts,
    client::{Conn, Request},
    digest::{checksum, sha256},
    tus::{FILES, OFFSET_TYPE, append, request},
};

/// Few names, so that they are given again and again.
const NAMES: [&str; 3] = ["a.bin", "b.txt", "c"];
const ALGORITHMS: [&str; 5] = ["sha256", "sha1", "md5", "crc32", "blake3"];

/// How a body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Chunked,
    Checked,
    Trailed,
    /// The bytes are right, and their checksum is not.
    WrongSum,
    /// The checksum is right, and the bytes are not.
    WrongBytes,
}

/// A file as its chunks by the server's size.
pub fn parts_of(bytes: Vec<u8>) -> Parts {
    let mut parts = Parts::new("", "", CHUNK, bytes);
    parts.filename = None;
    parts
}

impl Client {
    pub fn metadata(&mut self) -> String {
        let name = NAMES[self.random.below(NAMES.len())];
        format!("filename {}", BASE64_STANDARD.encode(name))
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        let size = match self.random.below(8) {
            0 => self.random.below(20),
            1 => CHUNK * (1 + self.random.below(4)),
            _ => 1 + self.random.below(6 * CHUNK),
        };
        self.random.bytes(size)
    }

    fn style(&mut self) -> Style {
        match self.random.below(12) {
            0 => Style::WrongSum,
            1 => Style::WrongBytes,
            2 | 3 => Style::Checked,
            4 => Style::Trailed,
            5 => Style::Chunked,
            _ => Style::Plain,
        }
    }

    /// A body, with a checksum or without.
    fn bring(&mut self, request: Request, body: &[u8], style: Style) -> Request {
        let algorithm = ALGORITHMS[self.random.below(ALGORITHMS.len())];
        let right = checksum(algorithm, body);
        let size = 1 + self.random.below(9_000);
        let other: Vec<u8> = body.iter().map(|byte| byte ^ 0x55).collect();
        match style {
            Style::Plain => request.body(body),
            Style::Chunked => request.chunked(body, size),
            Style::Checked => request.header("Upload-Checksum", right).body(body),
            Style::Trailed => request.header("Trailer", "Upload-Checksum").trailed(
                body,
                size,
                &[("Upload-Checksum", &right)],
            ),
            Style::WrongSum => {
                request.header("Upload-Checksum", checksum(algorithm, &other)).body(body)
            }
            Style::WrongBytes => request.header("Upload-Checksum", right).body(other),
        }
    }

    /// POST, perhaps with bytes.
    pub fn create(&mut self, line: &Line<'_>) -> Option<()> {
        self.does("POST");
        let bytes = self.bytes();
        let mut known = Known::new(Made::Tus, parts_of(bytes));
        (known.partial, known.deferred) = (self.random.below(4) == 0, self.random.below(6) == 0);
        known.length_told = !known.deferred;
        let mut asked = request("POST", FILES).header("Upload-Metadata", self.metadata());
        asked = if known.deferred {
            asked.header("Upload-Defer-Length", 1)
        } else {
            asked.header("Upload-Length", known.length())
        };
        if known.partial {
            asked = asked.header("Upload-Concat", "partial");
        }
        let length = known.length();
        let body = [0, self.random.between(0, length), length][self.random.below(3)];
        let style = if body == 0 { Style::Plain } else { self.style() };
        if body > 0 {
            asked = asked.header("Content-Type", OFFSET_TYPE);
            asked = self.bring(asked, &known.parts.bytes[..body as usize], style);
        }
        let began = Instant::now();
        self.contents.insert(sha256(&known.parts.bytes));
        let answer = self.ask(line, &asked)?;
        if [Style::WrongSum, Style::WrongBytes].contains(&style) {
            self.tally.refused += 1;
            answer.refused_as(460, "checksum-mismatch");
            return Some(());
        }
        let answer = answer.expect(201);
        assert_eq!(answer.offset(), body);
        let url = answer.needs("Location").to_owned();
        url.rsplit('/').next().unwrap().clone_into(&mut known.parts.hash);
        (known.url, known.created, known.at) = (Some(url), Belief::Sure, Some(body));
        known.told.add(0, body);
        known.sent.add(0, body);
        known.active = (began, Instant::now());
        known.settled = known.partial && known.is_whole();
        if body == length && !known.partial && !known.deferred {
            known.is_finished(Some(began));
        }
        self.keep(known);
        Some(())
    }

    /// PATCH where the upload stands.
    pub fn patch(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        let known = self.known(number);
        let (from, length) = (known.at.unwrap(), known.length());
        let declare = known.deferred;
        let rest = self.random.below(3) == 0;
        let to = if rest { length } else { self.random.between(from, length) };
        let style = if to == from { Style::Plain } else { self.style() };
        let declare = declare && (to == length || self.random.below(3) == 0);
        let body = self.known(number).parts.bytes[from as usize..to as usize].to_vec();
        let mut asked = append(self.known(number).url(), from);
        if declare {
            asked = asked.header("Upload-Length", length);
        }
        let asked = self.bring(asked, &body, style);
        let wrong = [Style::WrongSum, Style::WrongBytes].contains(&style);
        self.does(if style == Style::Plain { "PATCH" } else { "PATCH with more" });
        let began = Instant::now();
        let known = self.known(number);
        if !wrong {
            known.sent.add(from, to);
        }
        known.at = None;
        let late = known.late;
        let answer = self.ask(line, &asked);
        let known = self.known(number);
        known.was_active(began, Belief::Maybe);
        let answer = answer?;
        match answer.status {
            204 if !wrong => {
                assert_eq!(answer.offset(), to);
                if to > from {
                    known.was_active(began, Belief::Sure);
                }
                known.told.add(from, to);
                known.length_told |= declare;
                if !known.told.goes_past(to) {
                    known.at = Some(to);
                }
                known.settled |= known.partial && known.is_whole();
                if known.is_whole() && !known.partial {
                    known.is_finished(Some(began));
                }
            }
            460 if wrong => {
                assert_eq!(answer.offset(), from);
                self.known(number).at = Some(from);
                self.tally.refused += 1;
            }
            404 | 410 => self.is_gone(line, number, &answer),
            // The one that was left came in between.
            409 if late == Some(from) => assert!(answer.offset() > from, "{answer:?}"),
            _ => {
                answer.expect(423);
            }
        }
        Some(())
    }

    /// A PATCH that stops in the middle; then the same client comes again.
    pub fn stall(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        self.does("takeover");
        let known = self.known(number);
        let (from, length) = (known.at.take().unwrap(), known.length());
        let body = known.parts.bytes[from as usize..].to_vec();
        let mut asked = append(known.url(), from).announcing(length - from);
        let checked = self.random.below(4) == 0;
        if checked {
            asked = asked.header("Upload-Checksum", checksum("sha1", &body));
        }
        let some = self.random.below(body.len() + 1);
        let sent = from + some as u64;
        let began = Instant::now();
        if !checked || sent == length {
            self.known(number).sent.add(from, sent);
        }
        let mut stalled = Conn::try_open(line.server.address()).ok();
        if let Some(stalled) = &mut stalled {
            let _ = stalled.try_raw(&asked.wire());
            let _ = stalled.try_raw(&body[..some]);
        }
        if self.random.below(2) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(self.random.between(0, 10)));
        }
        let end = self.random.below(8);
        let done = match end {
            0 => self.remove(line, number),
            1 | 2 => self.watch(line, number),
            _ => self.look(line, number),
        };
        drop(stalled);
        if let Some(known) = self.uploads.get_mut(&number) {
            known.was_active(began, Belief::Maybe);
            // Where nothing of it was seen, it may still come.
            known.at = known.at.filter(|at| *at > from && end > 2);
            known.late = known.at.is_none().then_some(from);
        }
        done
    }

    /// The status while a PATCH runs. Only under `ack` is what it tells on the disk, which the
    /// crash points look at; else the power may take it.
    fn watch(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        self.does("status of a PATCH");
        let before = self.known(number).told.clone();
        let done = self.status(line, number);
        if let Some(known) = self.uploads.get_mut(&number).filter(|_| line.rules.power) {
            known.told = before;
        }
        done
    }
}
