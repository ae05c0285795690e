//! Where places are short, each address has its share: whoever came first and stays keeps nobody
//! else out, however slowly it sends.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    chunks::Parts,
    client::{Conn, Request},
    h2::H2,
    hostile::watch::memory,
    server::Server,
    tus::{Upload, append, create, create_with, patch, request},
};

/// However busy the machine is, whoever has less than its share is served within this time.
const SOON: Duration = Duration::from_secs(8);
/// Longer than a connection has to be idle before it may be closed for another.
const IDLE: Duration = Duration::from_millis(2300);
/// What somebody promises who never means to send it.
const ENDLESS: u64 = 1 << 40;

/// Bodies from one address that bring a few bytes, and then one now and then.
struct Trickle<'a>(Vec<(Upload<'a>, Conn)>);

impl<'a> Trickle<'a> {
    fn begin(server: &'a Server, count: usize, from: u8) -> Self {
        Self::at((0..count).map(|_| Upload::new(server, ENDLESS)).collect(), from)
    }

    fn at(uploads: Vec<Upload<'a>>, from: u8) -> Self {
        let begun = uploads.into_iter().map(|upload| {
            let mut connection = Conn::open_from(from, upload.server.address());
            connection.send(&append(&upload.url, 0).announcing(ENDLESS));
            connection.raw("hello");
            (upload, connection)
        });
        let begun = Self(begun.collect());
        // It is stored: all of them have a place.
        for (upload, _) in &begun.0 {
            upload.has_stored(5);
        }
        begun
    }

    /// One more byte each; who is still there to send it.
    fn go_on(&mut self) -> usize {
        self.0.iter_mut().flat_map(|(_, connection)| connection.try_raw(b".")).count()
    }

    /// Those who are still there.
    fn keep_silent_ones(&mut self) {
        self.0.retain_mut(|(_, connection)| connection.silent_for(Duration::from_millis(50)));
    }
}

#[track_caller]
fn is_overloaded(connection: &mut Conn, method: &str) {
    connection.answer(method).refused_as(503, "overloaded").needs("Retry-After");
}

// spec: CORE-95, CORE-81
#[test]
fn who_trickles_on_every_place_gives_half_of_them_to_another_address() {
    let server = Server::with(&["--max-uploads=8", "--queue-wait=1s"]);
    let mut trickle = Trickle::begin(&server, 8, 2);
    // More of its own kind it does not get.
    let mut more = Conn::open_from(2, server.address());
    let upload = Upload::new(&server, 11);
    more.send(&patch(&upload.url, 0, "hello world"));
    is_overloaded(&mut more, "PATCH");
    let before = server.received();
    assert_eq!(trickle.go_on(), 8);
    server.has_received(before + 8);
    // Another address does, each time that it asks.
    let since = Instant::now();
    let mut other = Conn::open_from(3, server.address());
    other.ask(&patch(&upload.url, 0, "hello world")).expect(204);
    other.ask(&create_with(11, "hello world")).expect(201);
    other.ask(&Parts::hello().put(0)).expect(201);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    upload.is_file(b"hello world");
    // One place was enough for that.
    let before: Vec<String> = trickle.0.iter().map(|(upload, _)| upload.url.clone()).collect();
    trickle.keep_silent_ones();
    assert_eq!(trickle.0.len(), 7);
    // Of whoever gave way nothing is lost.
    let left = |url: &&String| trickle.0.iter().all(|(upload, _)| upload.url != **url);
    let gone = before.iter().find(left).unwrap();
    assert_eq!(server.ask(&request("HEAD", gone)).expect(200).offset(), 6);
    // Both have four in the end, whatever either of them asks for.
    let mut others = Trickle::begin(&server, 4, 3);
    let upload = Upload::new(&server, 11);
    for from in [2, 3] {
        let mut more = Conn::open_from(from, server.address());
        more.send(&patch(&upload.url, 0, "hello world"));
        is_overloaded(&mut more, "PATCH");
    }
    trickle.keep_silent_ones();
    assert_eq!((trickle.go_on(), others.go_on()), (4, 4));
}

// spec: CORE-95: who gives way is told so, and where to go on.
#[test]
fn who_gives_way_is_told_how_far_it_got() {
    let server = Server::with(&["--max-uploads=2", "--queue-wait=1s"]);
    let bytes = vec![b'a'; 1 << 20];
    let before = server.received();
    let begin = |sent: usize| {
        let mut connection = Conn::open_from(2, server.address());
        let head = create(bytes.len() as u64).header("Expect", "100-continue");
        let head = head.header("Content-Type", "application/offset+octet-stream");
        connection.send(&head.announcing(bytes.len() as u64));
        // It has its place: nobody is told to send before that.
        assert_eq!(connection.head().unwrap().0, 100);
        connection.raw(&bytes[..sent]);
        connection
    };
    // Whoever begins has a credit of 64 KiB, which both had: the rest is ten times as fast.
    let (mut slow, mut fast) = (begin(0), begin(bytes.len() - 1));
    server.has_received(before + bytes.len() as u64 - 1);
    Conn::open_from(3, server.address()).ask(&create_with(11, "hello world")).expect(201);
    let slowest = slow.answer("POST").refused_as(503, "overloaded");
    assert_eq!((slowest.offset(), slowest.header("Connection")), (0, Some("close")));
    assert_eq!(server.ask(&request("HEAD", slowest.needs("Location"))).expect(200).offset(), 0);
    fast.raw(&bytes[..1]);
    fast.answer("POST").expect(201);
}

// spec: CORE-96
#[test]
fn who_trickles_on_every_connection_makes_room_for_another_address() {
    let server = Server::with(&["--max-connections=6"]);
    let upload = Upload::new(&server, 11);
    let uploads = (0..5).map(|_| Upload::new(&server, ENDLESS)).collect();
    server.has_open(0);
    let mut trickle = Trickle::at(uploads, 2);
    // One that says what it wants and brings nothing is no better.
    let mut last = Conn::open_from(2, server.address());
    last.send(&append(&upload.url, 0).announcing(11));
    thread::sleep(IDLE);
    // The lobby hears looks and nothing else.
    let mut more = Conn::open_from(2, server.address());
    more.send(&create(11));
    is_overloaded(&mut more, "POST");
    assert_eq!(trickle.go_on(), 5);
    drop(more);
    let since = Instant::now();
    let finished = Conn::open_from(3, server.address()).ask(&create_with(11, "hello world"));
    finished.expect(201);
    // Who had to leave has left, and whoever has done its work, too.
    server.has_open(5);
    let look = Request::new("GET", "/");
    let mut held: Vec<Conn> = (0..3).map(|_| Conn::open_from(3, server.address())).collect();
    for connection in &mut held {
        // With a place of its own: it may stay.
        assert_eq!(connection.ask(&look).expect(200).header("Connection"), None);
    }
    server.has_open(6);
    let mut newcomer = Conn::open_from(4, server.address());
    let newcomer = thread::spawn(move || newcomer.ask(&create(11)).expect(201));
    // Both addresses have three, and of those the trickle is slower. Who asks is not idle.
    while !newcomer.is_finished() {
        for connection in &mut held {
            connection.ask(&look).expect(200);
        }
    }
    let url = newcomer.join().unwrap();
    for connection in &mut held {
        connection.ask(&look).expect(200);
    }
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert_eq!(server.ask(&request("HEAD", url.needs("Location"))).expect(200).offset(), 0);
    // Of those who had to leave nothing is lost.
    for (upload, _) in &trickle.0 {
        let bytes = upload.stored();
        assert!(bytes.starts_with(b"hello") && bytes.len() <= 6, "{bytes:?}");
    }
}

// spec: CORE-95: behind a proxy the client is whom the proxy names.
#[test]
fn behind_a_proxy_of_ours_clients_have_shares_and_the_proxy_has_none() {
    let server = Server::with(&["--max-uploads=4", "--queue-wait=1s", "--behind-proxy=127.0.0.1"]);
    let upload = Upload::new(&server, 11);
    let named = |head: Request, client: &str| head.header("X-Forwarded-For", client);
    let begin = |client: Option<&str>| {
        let upload = Upload::new(&server, ENDLESS);
        let head = append(&upload.url, 0).announcing(ENDLESS);
        let head = client.map_or(head.clone(), |client| named(head, client));
        let mut connection = server.begin(&head);
        // It has a place.
        upload.takes(&mut connection, b"hello", ENDLESS);
        connection
    };
    let mut greedy: Vec<Conn> = (0..4).map(|_| begin(Some("192.0.2.1"))).collect();
    let more = named(patch(&upload.url, 0, "hello world"), "192.0.2.1");
    server.ask(&more).refused_as(503, "overloaded");
    server.ask(&named(patch(&upload.url, 0, "hello world"), "192.0.2.2")).expect(204);
    greedy.retain_mut(|connection| connection.silent_for(Duration::from_millis(50)));
    assert_eq!(greedy.len(), 3);
    drop(greedy);
    server.has_open(0);
    // A proxy that names nobody stands for many, who never give way to one.
    let mut unnamed: Vec<Conn> = (0..4).map(|_| begin(None)).collect();
    server.ask(&patch(&upload.url, 0, "hello world")).refused_as(503, "overloaded");
    server.ask(&named(create_with(11, "hello world"), "192.0.2.2")).refused_as(503, "overloaded");
    assert!(unnamed.iter_mut().all(|one| one.silent_for(Duration::from_millis(50))));
}

/// Hands bytes on between whoever connects and `server`, so much later on the way there and back.
fn far_away(server: SocketAddr, (there, back): (Duration, Duration)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || -> io::Result<()> {
        let (near, _) = listener.accept()?;
        let far = TcpStream::connect(server)?;
        hand_on(near.try_clone()?, far.try_clone()?, there);
        hand_on(far, near, back);
        Ok(())
    });
    address
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (write, read) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if write.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in read {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

// spec: CORE-97
#[test]
fn a_request_from_far_away_that_crosses_a_farewell_is_answered() {
    let server = Server::with(&["--max-connections=1"]);
    // Together less than the 1.5 s, and on the way there more than the 0.5 s of HTTP/1.1; on the
    // way back the farewell leaves us time to ask.
    let delays = (Duration::from_millis(550), Duration::from_millis(800));
    let far = far_away(server.address(), delays);
    let mut connection = H2::open(far);
    connection.ask(&Request::new("GET", "/healthz")).expect(200);
    thread::sleep(IDLE);
    let address = server.address();
    let newcomer = thread::spawn(move || Conn::open(address).ask(&create(11)));
    // The farewell is on its way, and this request is, too.
    thread::sleep(Duration::from_millis(100));
    connection.ask(&create(11)).expect(201);
    // The newcomer is told to come back, or has the place now.
    newcomer.join().unwrap().expect_one(&[201, 503]);
}

// spec: CORE-80: what was asked on a connection that has left is still under way, and bounded.
#[test]
fn who_comes_and_goes_in_the_lobby_leaves_no_more_behind_than_fits() {
    let server = Server::with(&["--max-connections=1"]);
    let (busy, looked) = (Upload::new(&server, 11), Upload::new(&server, 11));
    server.has_open(0);
    let _all = busy.stall(0, 11, b"hello");
    thread::sleep(IDLE);
    // Another process has the upload, so that a look waits for 3 s.
    let ledger = std::fs::File::open(looked.ledger()).unwrap();
    rustix::fs::flock(&ledger, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut gone = Vec::new();
    let since = Instant::now();
    for round in 0..2000 {
        let mut connection = server.connect();
        connection.send(&request("HEAD", &looked.url));
        gone.push(connection);
        if gone.len() == 400 {
            // They hang up, and what they asked for goes on.
            gone.clear();
        }
        if round % 200 == 199 {
            let since = Instant::now();
            server.ask(&Request::new("GET", "/healthz")).expect(200);
            assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        }
    }
    drop(gone);
    let asked = since.elapsed();
    // Whoever has begun waits for 3 s, and only then others begin.
    thread::sleep(Duration::from_millis(5500).saturating_sub(asked));
    let begun = heads(&server);
    println!("2000 asked within {asked:?}, {begun} of them had begun before any ended");
    let rounds = since.elapsed().as_secs() / 3;
    assert!(begun > 0 && begun <= 1024 * rounds.max(1), "{begun} in {rounds} rounds");
    rustix::fs::flock(&ledger, rustix::fs::FlockOperation::Unlock).unwrap();
    assert_eq!(looked.head().expect(200).offset(), 0);
}

/// HEADs that have ended, with or without an answer.
fn heads(server: &Server) -> u64 {
    let page = server.ask(&Request::new("GET", "/metrics")).expect(200);
    let page = String::from_utf8(page.body).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("piton_requests_total"));
    let heads = lines.filter(|line| line.contains("\"HEAD\""));
    heads.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

// spec: CORE-98
#[test]
fn a_crowd_of_bodies_stays_within_its_memory() {
    const COUNT: u64 = 1000;
    // They wait for each other at the end.
    let options = ["--memory-budget=4MiB", "--durability=none", "--idle-timeout=10m"];
    let server = Server::with(&options);
    let bytes = vec![7; 512 * 1024];
    let upload = Upload::new(&server, bytes.len() as u64);
    upload.patch(0, &bytes[..]).expect(204);
    let before = memory(&server);
    let mut open: Vec<Conn> = (0..COUNT)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&create_with(bytes.len() as u64, "").announcing(bytes.len() as u64));
            connection
        })
        .collect();
    // All of them are under way, and send as fast as they are read.
    thread::scope(|scope| {
        for some in open.chunks_mut(50) {
            scope.spawn(|| {
                for part in bytes[..384 * 1024].chunks(96 * 1024) {
                    for connection in some.iter_mut() {
                        connection.raw(part);
                    }
                }
            });
        }
    });
    let grown = memory(&server).saturating_sub(before);
    println!("{} KiB for each of {COUNT}", grown / COUNT / 1024);
    assert!(grown < 8 * 1024 * 1024 + COUNT * 84 * 1024, "{} MiB", grown >> 20);
    for connection in &mut open {
        connection.raw(&bytes[384 * 1024..]);
        connection.answer("POST").expect(201);
    }
    assert_eq!(server.finished().len() as u64, COUNT + 1);
}
