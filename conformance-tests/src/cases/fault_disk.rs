//! Disks that are full, fail, lose what was not flushed, or hold something else than was written.

use std::{fs, path::PathBuf, thread, time::Duration};

use super::{conn_cut::CHUNK, fault::place};
use crate::{
    digest::{length, sha256_hex},
    disk,
    judge::Judge,
    parts::{Parts, merge, soon},
    power::Volume,
    random::Random,
    server::Server,
    stop::{At, Step, Stop, breach, ensure, same},
    strace::Strace,
    tus::{GONE, Upload, create, create_with},
    wire::{Answer, Request},
};

/// FAULT-07.
pub(super) fn full_in_a_patch(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let bytes = Random::fresh().bytes(5 * CHUNK);
    let upload = Upload::new(&server, length(&bytes))?;
    upload.patch(0, &bytes[..100])?.expect(204)?;
    server.fill_disk_at(length(&bytes[..2 * CHUNK + 1000]))?;
    upload.patch(100, &bytes[100..])?.expect(507)?;
    let kept = place(&upload)?;
    let honest = (100..=2 * CHUNK + 1000).contains(&kept);
    ensure(honest, format_args!("{kept} bytes are told, of a disk that took less"))?;
    ensure(kept > 100, "nothing is kept of what there was room for")?;
    server.fill_disk()?;
    upload.patch(length(&bytes[..kept]), &bytes[kept..])?.expect(507).at("no room at all")?;
    upload.is_at(length(&bytes[..kept])).at("no room at all")?;
    server.make_room()?;
    upload.patch(length(&bytes[..kept]), &bytes[kept..])?.expect(204).at("room again")?;
    upload.is_file(&bytes)
}

/// FAULT-08.
pub(super) fn full_elsewhere(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let bytes = Random::fresh().bytes(5 * CHUNK);
    Upload::hello(&server)?;
    let before = server.stored();
    server.fill_disk()?;
    server.ask(&create(&server, 11))?.expect(507).at("POST")?;
    ensure(server.stored() == before, "POST: something is half-made")?;
    if judge.offers("creation-with-upload") {
        server.fill_disk_at(length(&bytes[..2 * CHUNK]))?;
        let answer = server.ask(&create_with(&server, length(&bytes), bytes.clone()))?;
        let answer = answer.expect_one(&[201, 507]).at("creation with upload")?;
        let upload = Upload::from_answer(&server, &answer).at("creation with upload")?;
        let told = answer.offset()?;
        upload.is_at(told).at("creation with upload")?;
        let kept = place(&upload)?;
        ensure(kept <= 2 * CHUNK, format_args!("{kept} bytes are told"))?;
        server.make_room()?;
        upload.patch(told, &bytes[kept..])?.expect(204)?;
        upload.is_file(&bytes).at("creation with upload")?;
    }
    server.make_room()?;
    if server.layout().is_err() {
        return Ok(());
    }
    full_in_the_chunk_flow(&server)
}

fn full_in_the_chunk_flow(server: &Server) -> Step {
    let parts = Parts::new("full.bin", CHUNK, Random::fresh().bytes(4 * CHUNK - 5));
    for index in (1..parts.total).rev() {
        parts.send(server, index)?;
    }
    let uploaded = parts.uploaded(server)?;
    server.fill_disk()?;
    server.ask(&parts.put(server, 0)?)?.expect(507).at("chunk")?;
    same("uploaded", &parts.uploaded(server)?, &uploaded).at("chunk")?;
    let left = disk::files_below(&server.data()?.join("tmp"));
    ensure(left.is_empty(), format_args!("chunk: {left:?} is left"))?;
    // Room for each chunk, and not for the file.
    server.fill_disk_at(length(&vec![0; CHUNK]))?;
    parts.send(server, 0).at("room for one chunk")?;
    let merged = parts.merge(server)?;
    // Where blocks can be shared no room is needed.
    let merged = merged.expect_one(&[507, 201]).at("merge")?;
    if merged.status == 507 {
        let all = parts.uploaded(server)?.len();
        same("the number of chunks", &all, &parts.total).at("merge")?;
    }
    server.make_room()?;
    let merged = parts.merge(server)?.expect_one(&[200, 201]).at("merge, with room again")?;
    parts.is_merged(server, &merged)
}

/// The files that hold something of an upload.
fn files_of(upload: &Upload<'_>) -> Step<Vec<PathBuf>> {
    let all = disk::files_below(&upload.server.data()?);
    let ours = |path: &PathBuf| path.to_string_lossy().contains(upload.id());
    let all: Vec<_> = all.into_iter().filter(ours).collect();
    let none = || Stop::Skip("no file of the data folder has an upload's name".to_owned());
    if all.is_empty() { Err(none()) } else { Ok(all) }
}

/// FAULT-09. The calls fail by strace; the short write is one across a limit of the process.
pub(super) fn storage_that_fails(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let bytes = Random::fresh().bytes(5 * CHUNK);
    let upload = Upload::new(&server, length(&bytes))?;
    server.fill_disk_at(length(&bytes[..CHUNK + 1000]))?;
    let answer = upload.patch(0, bytes.clone())?.expect_one(&[500, 507]).at("short write")?;
    answer.is_problem()?;
    server.make_room()?;
    let kept = place(&upload)?;
    ensure(kept <= CHUNK + 1000, format_args!("{kept} bytes are told after a short write"))?;
    upload.patch(length(&bytes[..kept]), &bytes[kept..])?.expect(204)?;
    upload.is_file(&bytes).at("short write")?;

    let upload = Upload::hello(&server)?;
    let writes = "write,writev,pwrite64,pwritev,pwritev2:error=EIO";
    let strace = Strace::attach(&server, writes, &files_of(&upload)?)?;
    let answer = upload.patch(5, " world")?.expect(500).at("EIO")?;
    answer.is_problem().at("EIO")?;
    upload.is_at(5).at("EIO")?;
    ensure(!strace.tampered().is_empty(), "no write of it is seen")?;
    drop(strace);
    upload.patch(5, " world")?.expect(204).at("the disk is well again")?;
    upload.is_file(b"hello world")?;
    for option in ["--durability=complete", "--durability=ack"] {
        let server = judge.then_start(&[option])?;
        failed_flush(&server, option == "--durability=ack").at(option)?;
    }
    Ok(())
}

/// A flush fails, of the last bytes, or of some where each answer promises that they are durable.
fn failed_flush(server: &Server, each: impl Into<Promise>) -> Step {
    let bytes = Random::fresh().bytes(3 * CHUNK);
    let upload = Upload::new(server, length(&bytes))?;
    upload.patch(0, &bytes[..CHUNK])?.expect(204)?;
    let end = match each.into() {
        Promise::Each => 2 * CHUNK + 5,
        Promise::Last => bytes.len(),
    };
    // Only the first one fails: who asks again is told that all is well, and is not.
    let strace = Strace::attach(server, "fsync,fdatasync:error=EIO:when=1", &[])?;
    let answer = upload.patch(length(&bytes[..CHUNK]), &bytes[CHUNK..end])?;
    let calls = strace.tampered();
    drop(strace);
    ensure(!calls.is_empty(), "nothing was flushed")?;
    let status = answer.status;
    answer.ensure(status >= 500, "bytes whose flush failed are told as stored")?;
    answer.is_problem()?;
    let at = place(&upload)?;
    ensure(at < end, format_args!("{at} bytes are told, and nobody knows whether they are there"))?;
    upload.patch(length(&bytes[..at]), &bytes[at..])?.expect(204)?;
    upload.is_file(&bytes)
}

/// What answers promise to be durable.
enum Promise {
    Each,
    Last,
}

impl From<bool> for Promise {
    fn from(each: bool) -> Self {
        if each { Self::Each } else { Self::Last }
    }
}

/// An upload of four chunks of which three and a bit are there, and its bytes.
fn three_and_a_bit(server: &Server) -> Step<(Upload<'_>, Vec<u8>)> {
    let bytes = Random::fresh().bytes(4 * CHUNK);
    let upload = Upload::new(server, length(&bytes))?;
    for (from, to) in [(0, CHUNK), (CHUNK, 2 * CHUNK), (2 * CHUNK, 3 * CHUNK + 100)] {
        upload.patch(length(&bytes[..from]), &bytes[from..to])?.expect(204)?;
    }
    Ok((upload, bytes))
}

fn ledger(upload: &Upload<'_>) -> Step<PathBuf> {
    let name = format!("{}.ledger", upload.id());
    let all = disk::files_below(&upload.server.layout()?.join("state"));
    let unknown = || Stop::Skip("the server keeps no ledgers".to_owned());
    all.into_iter().find(|path| path.ends_with(&name)).ok_or_else(unknown)
}

/// FAULT-10, where the layout is known.
pub(super) fn damaged_ledgers(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let (torn, bytes) = three_and_a_bit(&server)?;
    let (damaged, _) = three_and_a_bit(&server)?;
    let (empty, _) = three_and_a_bit(&server)?;
    let other = Upload::hello(&server)?;
    let (cut, bad, none) = (ledger(&torn)?, ledger(&damaged)?, ledger(&empty)?);
    server.kill_9()?;
    let file = fs::File::options().write(true).open(cut)?;
    file.set_len(file.metadata()?.len() - 3)?;
    let mut facts = fs::read(&bad)?;
    let middle = facts.len() / 2;
    facts[middle] ^= 1;
    fs::write(bad, facts)?;
    fs::write(none, "")?;
    server.start_again()?;
    damaged.head()?.expect(410).at("damaged")?;
    damaged.patch(length(&bytes[..3 * CHUNK + 100]), "x")?.expect(410).at("damaged")?;
    empty.head()?.expect_one(&GONE).at("empty")?;
    other.is_at(5).at("another upload")?;
    let at = place(&torn)?;
    let kept = (2 * CHUNK..=3 * CHUNK + 100).contains(&at);
    ensure(kept, format_args!("torn: {at} bytes are told"))?;
    torn.patch(length(&bytes[..at]), &bytes[at..])?.expect(204).at("torn")?;
    torn.is_file(&bytes).at("torn")
}

/// FAULT-11, where the layout is known.
pub(super) fn damaged_parts(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    for what in ["shortened", "gone", "flipped"] {
        let (upload, bytes) = three_and_a_bit(&server)?;
        let part = upload.folder()?.join("0.part");
        server.kill_9()?;
        match what {
            "shortened" => {
                let file = fs::File::options().write(true).open(part)?;
                file.set_len(length(&bytes[..CHUNK + 77]))?;
            }
            "gone" => fs::remove_file(part)?,
            _ => {
                let mut stored = fs::read(&part)?;
                stored[CHUNK + 17] ^= 1;
                fs::write(&part, stored)?;
                // Without this mark nobody knows that the machine ran on.
                fs::remove_file(server.data()?.join("state/boot"))?;
            }
        }
        server.start_again()?;
        let at = place(&upload).at(what)?;
        let most = if what == "gone" { 0 } else { CHUNK + 77 };
        ensure(at <= most, format_args!("{what}: {at} bytes are told, {most} are there"))?;
        let look = server.at(&format!("/upload/status?upload_id={}", upload.id()))?;
        let status = server.ask(&Request::new("GET", &look))?.expect(200)?.json()?;
        let listed = crate::parts::numbers(&status["uploaded"])?;
        let wrong = listed.contains(&1) || what != "flipped" && listed.contains(&2);
        ensure(!wrong, format_args!("{what}: the chunks {listed:?} are listed"))?;
        complete(&upload, &bytes).at(what)?;
        upload.is_file(&bytes).at(what)?;
    }
    let server = judge.then_start(&["--verify-on-merge"])?;
    let parts = Parts::new("rot.bin", CHUNK, Random::fresh().bytes(2 * CHUNK));
    parts.send_all(&server)?;
    put_together(&parts, &server)?;
    let stored = disk::files_below(&parts.as_upload(&server)?.folder()?);
    for path in stored {
        let mut bytes = fs::read(&path)?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes)?;
    }
    let refused = server.ask(&merge(&server, &parts.merge_body())?)?;
    let refused = refused.refused_as(409, "chunks-missing").at("verified at the merge")?;
    let named = refused.json()?["missing"].as_array().is_some_and(|list| !list.is_empty());
    refused.ensure(named, "the bad chunk is not named")?;
    for index in 0..parts.total {
        server.ask(&parts.put(&server, index)?)?.expect_one(&[200, 201])?;
    }
    let merged = parts.merge(&server)?.expect_one(&[200, 201])?;
    parts.is_merged(&server, &merged)
}

/// Waits until the chunks of a whole file lie in one part, which happens behind the answers.
pub(super) fn put_together(parts: &Parts, server: &Server) -> Step {
    if server.layout().is_err() {
        return Ok(());
    }
    let folder = parts.as_upload(server)?.folder()?;
    let one = || Ok(disk::files_below(&folder).len() == 1);
    // Who leaves them apart has had time enough.
    let _ = soon("the chunks are left apart", one);
    Ok(())
}

/// Sends what is missing; chunks behind the offset may be there already.
fn complete(upload: &Upload<'_>, bytes: &[u8]) -> Step {
    for _ in 0..10 {
        let at = place(upload)?;
        if at == bytes.len() {
            return Ok(());
        }
        upload.patch(length(&bytes[..at]), &bytes[at..])?.expect_one(&[204, 413])?;
        if place(upload)? == at {
            let next = bytes.len().min(at - at % CHUNK + CHUNK);
            upload.patch(length(&bytes[..at]), &bytes[at..next])?.expect(204)?;
        }
    }
    Err(breach("the upload cannot be completed"))
}

/// What was told before the lights went out.
struct Told<'a> {
    upload: Upload<'a>,
    bytes: Vec<u8>,
    offset: usize,
}

/// FAULT-12: an ext4 of our own on a loop device, shut down without its log under load; for root,
/// where mkfs.ext4, mount and `xfs_io` are there.
pub(super) fn power_loss(judge: &Judge<'_>) -> Step {
    for durability in ["none", "complete", "ack"] {
        for _ in 0..2 {
            lights_out(judge, durability).at(durability)?;
        }
    }
    Ok(())
}

fn lights_out(judge: &Judge<'_>, durability: &str) -> Step {
    let volume = Volume::mounted()?;
    let option = format!("--durability={durability}");
    let server = Server::start_in(judge.launcher()?, &[&option], volume.folder(), judge.http())?;
    let told = under_load(&server, &volume)?;
    server.kill_9()?;
    volume.remount()?;
    // The machine would have another boot id now.
    let _ = fs::remove_file(server.data()?.join("state/boot"));
    server.start_again()?;
    for (number, one) in told.iter().enumerate() {
        after(one, durability).at(format_args!("upload {number}, {} told", one.offset))?;
    }
    // It goes on.
    Upload::finished(&server)?.is_file(b"hello world")
}

/// Uploads from several sides until the power goes.
fn under_load<'a>(server: &'a Server, volume: &Volume) -> Step<Vec<Told<'a>>> {
    let upload = || {
        let bytes = Random::fresh().bytes(3 * CHUNK + 100);
        let upload = Upload::new(server, length(&bytes))?;
        Ok::<_, Stop>(Told { upload, bytes, offset: 0 })
    };
    thread::scope(|scope| {
        let hands = (0..4).map(|_| {
            scope.spawn(move || {
                let mut all = Vec::new();
                while let Ok(mut one) = upload() {
                    let sent = send(&mut one);
                    all.push(one);
                    if sent.is_err() {
                        break;
                    }
                }
                all
            })
        });
        let hands: Vec<_> = hands.collect();
        thread::sleep(Duration::from_millis(400));
        let cut = volume.cut();
        let broke = |_| breach("a thread broke");
        let told = hands.into_iter().map(|hand| hand.join().map_err(broke));
        let told = told.collect::<Step<Vec<_>>>()?.into_iter().flatten().collect();
        cut.map(|()| told)
    })
}

/// Three times PATCH; every third upload is left unfinished.
fn send(one: &mut Told<'_>) -> Step {
    let ends = [CHUNK + 7, 2 * CHUNK, one.bytes.len()];
    let unfinished = one.bytes[0].is_multiple_of(3);
    for end in ends.into_iter().take(if unfinished { 2 } else { 3 }) {
        let (from, part) = (length(&one.bytes[..one.offset]), &one.bytes[one.offset..end]);
        one.upload.patch(from, part)?.expect(204)?;
        one.offset = end;
    }
    Ok(())
}

fn after(one: &Told<'_>, durability: &str) -> Step {
    let finished = one.offset == one.bytes.len();
    if finished && durability != "none" {
        return one.upload.is_file(&one.bytes);
    }
    let served = |file: &Answer| {
        let right = file.status != 200 || file.body == one.bytes;
        let found = sha256_hex(&file.body);
        file.ensure(right, format_args!("wrong bytes are served, of digest {found}"))
    };
    served(&one.upload.get()?)?;
    let head = one.upload.head()?;
    if durability != "ack" && GONE.contains(&head.status) {
        return Ok(());
    }
    head.expect_one(&[200, 204])?;
    let at = place(&one.upload)?;
    let kept = durability != "ack" || at >= one.offset;
    ensure(kept, format_args!("{} bytes were told, {at} are there", one.offset))?;
    complete(&one.upload, &one.bytes)?;
    one.upload.is_file(&one.bytes)
}
