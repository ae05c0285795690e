//! Frames of HTTP/2 as no library would send them.

use crate::{client::Conn, server::Server};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
pub const INITIAL_WINDOW: u16 = 4;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A setting as a payload.
pub fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Fields in the plainest way that HPACK has: literals that are not remembered.
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0, name, value)).collect()
}

/// One literal; `0x40` as its form has it remembered.
pub fn literal(form: u8, name: &str, value: &str) -> Vec<u8> {
    [&[form][..], &length(name), name.as_bytes(), &length(value), value.as_bytes()].concat()
}

/// The length of a string, in RFC 7541's way to write numbers (§5.1, seven bits).
fn length(text: &str) -> Vec<u8> {
    let mut left = text.len();
    if left < 127 {
        return vec![u8::try_from(left).unwrap()];
    }
    let mut bytes = vec![127];
    left -= 127;
    while left >= 128 {
        bytes.push(u8::try_from(left % 128).unwrap() | 128);
        left /= 128;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes
}

/// The head of a tus request.
pub fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo =
        [(":method", method), (":scheme", "http"), (":authority", "piton.test"), (":path", path)];
    [fields(&pseudo), fields(&[("tus-resumable", "1.0.0")]), fields(more)].concat()
}

/// A connection that has said hello with this setting, if any.
pub fn hello(server: &Server, settings: &[u8]) -> Conn {
    let mut connection = server.connect();
    connection.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.raw(frame(SETTINGS, 0, 0, settings));
    connection.raw(frame(SETTINGS, ACK, 0, &[]));
    connection
}

/// Sends `piece` again and again, as often as `times`, while a twin of the connection reads; how
/// often it was taken. The server may hang up at any time.
pub fn flood(
    connection: &mut Conn,
    times: usize,
    mut piece: impl FnMut(usize) -> Vec<u8>,
) -> usize {
    let mut reader = connection.twin();
    std::thread::spawn(move || while reader.take(1).is_ok() {});
    let mut batch = Vec::new();
    for number in 0..times {
        batch.extend(piece(number));
        if batch.len() >= 16 * 1024 || number % 100 == 99 || number + 1 == times {
            if connection.try_raw(&batch).is_err() {
                return number;
            }
            batch.clear();
        }
    }
    times
}

/// A stream's number: clients count in odd ones.
pub fn stream(number: usize) -> u32 {
    u32::try_from(number).unwrap() * 2 + 1
}
