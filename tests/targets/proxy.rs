//! The proxy of the fault tests shows the faults that it is told to: a test that can't fail is worthless.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tests::proxy::Proxy;

/// A server that sends everything back.
fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Proxy::new(address)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn call(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.write_all(b"hello")?;
    stream.read(&mut [0; 16])
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.read(&mut [0; 16]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_cut_is_a_reset_and_a_close_is_an_end() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    assert_eq!(call(&mut stream).unwrap(), 5);
    proxy.cut();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut stream = connect(&proxy);
    assert_eq!(call(&mut stream).unwrap(), 5);
    proxy.close();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn a_cut_comes_after_the_bytes_that_it_was_told() {
    let proxy = echo();
    proxy.cut_after([12]);
    let mut stream = connect(&proxy);
    assert_eq!(call(&mut stream).unwrap(), 5);
    assert_eq!(call(&mut stream).unwrap(), 5);
    assert!(call(&mut stream).is_err());
    let mut stream = connect(&proxy);
    assert_eq!(call(&mut stream).unwrap(), 5);
    assert_eq!(call(&mut stream).unwrap(), 5);
    assert_eq!(call(&mut stream).unwrap(), 5);
}

#[test]
fn a_stall_holds_back_and_lets_go() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    proxy.stall(true);
    stream.write_all(b"hello").unwrap();
    assert!(is_silent(&mut stream));
    proxy.stall(false);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn half_open_is_silence_for_good_on_the_old_connection_only() {
    let proxy = echo();
    let mut old = connect(&proxy);
    assert_eq!(call(&mut old).unwrap(), 5);
    proxy.half_open();
    old.write_all(b"hello").unwrap();
    assert!(is_silent(&mut old));
    assert_eq!(call(&mut connect(&proxy)).unwrap(), 5);
}

#[test]
fn refused_connections_end_at_once() {
    let proxy = echo();
    proxy.refuse(true);
    assert!(call(&mut connect(&proxy)).is_err());
    proxy.refuse(false);
    assert_eq!(call(&mut connect(&proxy)).unwrap(), 5);
}

#[test]
fn answers_are_held_from_a_byte_of_the_client_on() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    proxy.hold_answers_after(Some(8));
    assert_eq!(call(&mut stream).unwrap(), 5);
    stream.write_all(b"hello").unwrap();
    proxy.wait_for_received(10);
    assert!(is_silent(&mut stream));
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    proxy.hold_answers_after(None);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 5);
}

#[test]
fn delay_and_rate_take_their_time() {
    let proxy = echo();
    let mut stream = connect(&proxy);
    proxy.delay(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(call(&mut stream).unwrap(), 5);
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
    proxy.delay(Duration::ZERO);
    proxy.rate(Some(1 << 20));
    let began = Instant::now();
    let mut writing = stream.try_clone().unwrap();
    let writer = thread::spawn(move || writing.write_all(&vec![1; 512 << 10]).unwrap());
    let mut left = 512 << 10;
    while left > 0 {
        left -= stream.read(&mut vec![0; 64 << 10]).unwrap();
    }
    writer.join().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}
