//! Behind real proxies, with the configurations of docs/proxies/. A proxy that is not installed is
//! skipped, and the output says so.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    client::{Answer, Conn, Request},
    random::Random,
    server::Server,
    tus::{append, create, patch, request},
};

const HOST: &str = "up.example.org";
const PAGE: &str = "https://page.example";
const MB: usize = 1_000_000;

/// A proxy in front of a server of its own.
struct Proxy {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    server: Server,
    folder: TempDir,
}

/// How a proxy is run with the sample named so.
struct Recipe {
    name: &'static str,
    sample: &'static str,
    /// The line of the sample that listens, and what it is replaced by; `{port}` is a free port.
    listen: (&'static str, &'static str),
    /// What has to stand around the sample (`{sample}`) to run it in a folder (`{folder}`).
    around: &'static str,
    args: &'static [&'static str],
}

const NGINX: Recipe = Recipe {
    name: "nginx",
    sample: "nginx.conf",
    listen: ("    listen 80;", "    listen 127.0.0.1:{port};"),
    around: "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n\
        events {}\nhttp {\naccess_log off;\nclient_body_temp_path {folder}/body;\n\
        proxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/fastcgi;\n\
        scgi_temp_path {folder}/scgi;\nuwsgi_temp_path {folder}/uwsgi;\n{sample}\n}\n",
    args: &["-e", "stderr", "-c", "{config}"],
};

const CADDY: Recipe = Recipe {
    name: "caddy",
    sample: "Caddyfile",
    listen: ("\n:80 {", "\nhttp://:{port} {\n\tbind 127.0.0.1"),
    around: "{\n\tadmin off\n}\n{sample}",
    args: &["run", "--config", "{config}", "--adapter", "caddyfile"],
};

const HAPROXY: Recipe = Recipe {
    name: "haproxy",
    sample: "haproxy.cfg",
    listen: ("    bind :80", "    bind 127.0.0.1:{port}"),
    around: "{sample}",
    args: &["-db", "-f", "{config}"],
};

impl Proxy {
    /// The proxy, running; `None`, and a word about it, where it is not installed.
    fn start(recipe: &Recipe) -> Option<Self> {
        let Some(program) = installed(recipe.name) else {
            // Not with a macro: those are silent in a test that passes.
            let _ = writeln!(io::stderr(), "skipped: {} is not installed", recipe.name);
            return None;
        };
        let server = Server::with(&["--behind-proxy=loopback", "--chunk-size=1MiB"]);
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let config = folder.path().join(recipe.sample);
        fs::write(&config, recipe.config(&server, address, folder.path())).unwrap();
        let said = File::create(folder.path().join("said")).unwrap();
        let args = recipe.args.iter().map(|arg| arg.replace("{config}", config.to_str().unwrap()));
        let child = Command::new(program)
            .args(args)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut proxy = Self { name: recipe.name, child, address, server, folder };
        proxy.wait();
        Some(proxy)
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{} is not there", self.name);
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn ask(&self, request: &Request) -> Answer {
        Conn::open(self.address).ask(&request.clone().set("Host", HOST))
    }

    /// A new upload; its path.
    fn create(&self, length: usize) -> String {
        let answer = self.ask(&create(length as u64)).expect(201);
        let url = answer.needs("Location").to_owned();
        let path = url.strip_prefix(&format!("http://{HOST}"));
        path.unwrap_or_else(|| panic!("{} is told {url}", self.name)).to_owned()
    }

    fn offset(&self, path: &str) -> usize {
        let head = self.ask(&request("HEAD", path)).expect(200);
        usize::try_from(head.offset()).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
            eprintln!("--- {} said\n{said}---", self.name);
        }
    }
}

impl Recipe {
    /// The sample with other ports, so that it is the sample that is tried.
    fn config(&self, server: &Server, address: SocketAddr, folder: &Path) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies").join(self.sample);
        let sample = fs::read_to_string(path).unwrap();
        let (from, to) = self.listen;
        let upstream = "127.0.0.1:8080";
        for needed in [from, upstream] {
            assert_eq!(sample.matches(needed).count(), 1, "{needed:?} in {}", self.sample);
        }
        let sample = sample.replace(upstream, &server.address().to_string());
        let sample = sample.replace(from, &to.replace("{port}", &address.port().to_string()));
        let around = self.around.replace("{folder}", folder.to_str().unwrap());
        around.replace("{sample}", &sample)
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A proxy has to be told its port. One that the kernel chose it would choose again, for another
/// test or as the near end of a connection, before the proxy has it; these it does not choose.
fn free_address() -> SocketAddr {
    const LOWEST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Some proxies share a port that another one listens on, of another process of tests, too.
    let first = (process::id().wrapping_mul(16) % u32::from(COUNT)) as u16;
    let free = |_| {
        let port = LOWEST + (first + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok()
    };
    (0..COUNT).find_map(free).expect("a free port")
}

/// 50 MB in five pieces. The third breaks in its middle: what had come is kept, not thrown away by
/// the proxy, and the client goes on from there.
fn uploads_and_resumes(proxy: &Proxy) {
    let bytes = Random::seeded(7).bytes(50 * MB);
    let path = proxy.create(bytes.len());
    let mut offset = 0;
    for end in [10 * MB, 20 * MB, 25 * MB, 30 * MB, 40 * MB, 50 * MB] {
        if end == 25 * MB {
            offset = broken_piece(proxy, &path, offset, &bytes[offset..end]);
            continue;
        }
        let piece = patch(&path, offset as u64, &bytes[offset..end]);
        assert_eq!(proxy.ask(&piece).expect(204).offset(), end as u64, "{}", proxy.name);
        offset = end;
    }
    let file = proxy.ask(&Request::new("GET", &path)).expect(200);
    assert!(file.body == bytes, "{} changed the bytes", proxy.name);
    assert!(proxy.server.the_file() == bytes);
}

/// Announces 10 MB, sends `part` of it and hangs up; how far the upload got.
fn broken_piece(proxy: &Proxy, path: &str, offset: usize, part: &[u8]) -> usize {
    let mut connection = Conn::open(proxy.address);
    let head = append(path, offset as u64).announcing(10 * MB as u64).set("Host", HOST);
    connection.send(&head);
    connection.raw(part);
    thread::sleep(Duration::from_millis(300));
    connection.finish();
    drop(connection);
    let reached = proxy.offset(path);
    assert!(reached > offset, "{} kept {reached} of {offset} and more", proxy.name);
    assert!(reached <= offset + part.len());
    reached
}

/// A refusal reaches a client that sends all it has before it reads, and one that reads meanwhile.
fn refuses_early(proxy: &Proxy) {
    let path = proxy.create(40 * MB);
    let big = vec![7; 30 * MB];
    let mut connection = Conn::open(proxy.address);
    connection.send(&patch(&path, 5, big.clone()).set("Host", HOST));
    connection.answer("PATCH").refused_as(409, "offset-mismatch");
    let short = proxy.create(11);
    let answer = proxy.ask(&patch(&short, 0, big).header("Origin", PAGE));
    let answer = answer.refused_as(413, "length-exceeded");
    assert_eq!(answer.needs("Access-Control-Allow-Origin"), "*");
    assert_eq!(proxy.offset(&path), 0);
}

/// A client that asks first is told to send, or why not.
fn continues(proxy: &Proxy) {
    let path = proxy.create(11);
    let asks = |offset| append(&path, offset).header("Expect", "100-continue").set("Host", HOST);
    let mut connection = Conn::open(proxy.address);
    connection.send(&asks(0).announcing(11));
    let (status, _) = connection.head().unwrap();
    assert_eq!(status, 100, "{}", proxy.name);
    connection.raw("hello world");
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 11);
}

/// What a client writes into the headers of proxies changes nothing.
fn believes_the_proxy_alone(proxy: &Proxy) {
    let forged = create(11)
        .header("Forwarded", "for=192.0.2.1;host=evil.example;proto=https")
        .header("X-Forwarded-For", "192.0.2.1")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Port", "4443")
        .header("X-Forwarded-Prefix", "/evil");
    let answer = proxy.ask(&forged).expect(201);
    let location = answer.needs("Location");
    assert!(location.starts_with(&format!("http://{HOST}/files/")), "{}: {location}", proxy.name);
}

#[track_caller]
fn works_behind(recipe: &Recipe) {
    let Some(proxy) = Proxy::start(recipe) else { return };
    uploads_and_resumes(&proxy);
    refuses_early(&proxy);
    continues(&proxy);
    believes_the_proxy_alone(&proxy);
}

// spec: CORE-50, CORE-51
#[test]
fn behind_nginx() {
    works_behind(&NGINX);
}

// spec: CORE-50, CORE-51
#[test]
fn behind_caddy() {
    works_behind(&CADDY);
}

// spec: CORE-50, CORE-51
#[test]
fn behind_haproxy() {
    works_behind(&HAPROXY);
}
