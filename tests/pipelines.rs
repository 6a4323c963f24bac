//! Messages of the extended protocol as drivers send them at once: what comes before one `Sync` is one transaction.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Server, Store, run, value};

/// A connection that sends what it is told.
struct Raw {
    socket: TcpStream,
    out: Vec<u8>,
}

impl Raw {
    fn connect(server: &Server) -> Raw {
        let socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut raw = Raw { socket, out: Vec::new() };
        let startup = [&196_608_u32.to_be_bytes()[..], b"user\0root\0database\0defaultdb\0\0"].concat();
        raw.socket.write_all(&(startup.len() as u32 + 4).to_be_bytes()).unwrap();
        raw.socket.write_all(&startup).unwrap();
        raw.answers();
        raw
    }

    fn message(mut self, kind: u8, body: &[u8]) -> Raw {
        self.out.push(kind);
        self.out.extend((body.len() as u32 + 4).to_be_bytes());
        self.out.extend(body);
        self
    }

    /// `Parse`, `Bind` and `Execute` of a statement without parameters, for at most so many rows.
    fn execute(self, sql: &str, rows: u32) -> Raw {
        let parse = [b"\0", sql.as_bytes(), b"\0\0\0"].concat();
        let limit = [b"\0", &rows.to_be_bytes()[..]].concat();
        self.message(b'P', &parse).message(b'B', &[0; 8]).message(b'E', &limit)
    }

    fn statement(self, sql: &str) -> Raw {
        self.execute(sql, 0)
    }

    fn sync(self) -> Raw {
        self.message(b'S', b"")
    }

    fn send(&mut self) {
        self.socket.write_all(&std::mem::take(&mut self.out)).unwrap();
    }

    /// One letter for each answer up to `ReadyForQuery`, and its status: without those that say that it was read and bound.
    fn answers(&mut self) -> String {
        self.answers_until(b'Z')
    }

    fn answers_until(&mut self, last: u8) -> String {
        self.send();
        let mut answers = String::new();
        loop {
            let mut head = [0; 5];
            self.socket.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[1..].try_into().unwrap());
            let mut body = vec![0; length as usize - 4];
            self.socket.read_exact(&mut body).unwrap();
            match head[0] {
                b'Z' => answers.push_str(&format!("Z{}", char::from(body[0]))),
                b'1' | b'2' | b'N' | b'S' | b'R' | b'K' => {}
                kind => answers.push(char::from(kind)),
            }
            if head[0] == last {
                return answers;
            }
        }
    }
}

#[tokio::test]
async fn what_comes_before_one_sync_is_one_transaction() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let count = || value(&client, "SELECT count(*) FROM t");
    let raw = Raw::connect(&server);
    let mut raw = raw.statement("INSERT INTO t VALUES (1)").statement("INSERT INTO t VALUES (1)").sync();
    assert_eq!(raw.answers(), "CEZI");
    assert_eq!(count().await, "0");
    // What is made is seen by what follows, and goes with it.
    let mut raw =
        raw.statement("CREATE TABLE u (a INT)").statement("INSERT INTO u VALUES (1)").statement("SELECT 1/0").sync();
    assert_eq!(raw.answers(), "CCEZI");
    assert_eq!(value(&client, "SELECT to_regclass('u') IS NULL").await, "t");
    let mut raw = raw.statement("INSERT INTO t VALUES (1)").statement("INSERT INTO t VALUES (2)").sync();
    assert_eq!(raw.answers(), "CCZI");
    assert_eq!(count().await, "2");
    // What fails later, before it is run, takes back what was done too.
    let mut raw = raw.statement("INSERT INTO t VALUES (3)").message(b'P', b"\0SELEC\0\0\0").sync();
    assert_eq!(raw.answers(), "CEZI");
    // Without a Sync nothing stays.
    let mut raw = raw.statement("INSERT INTO t VALUES (3)").statement("INSERT INTO t VALUES (4)").message(b'X', b"");
    raw.send();
    let mut rest = Vec::new();
    raw.socket.read_to_end(&mut rest).unwrap();
    assert_eq!(count().await, "2");
}

#[tokio::test]
async fn a_pipeline_may_begin_and_end_transactions() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let count = || value(&client, "SELECT count(*) FROM t");
    let raw = Raw::connect(&server);
    // COMMIT keeps what came before it.
    let raw = raw.statement("INSERT INTO t VALUES (1)").statement("COMMIT");
    let mut raw = raw.statement("INSERT INTO t VALUES (2)").statement("SELECT 1/0").sync();
    assert_eq!(raw.answers(), "CCCEZI");
    assert_eq!(count().await, "1");
    let mut raw = raw.statement("BEGIN").statement("INSERT INTO t VALUES (2)").sync();
    assert_eq!(raw.answers(), "CCZT");
    assert_eq!(count().await, "1");
    let mut raw = raw.statement("INSERT INTO t VALUES (2)").sync();
    assert_eq!(raw.answers(), "EZE");
    let mut raw = raw.statement("ROLLBACK").sync();
    assert_eq!(raw.answers(), "CZI");
    // A BEGIN takes in what came before it.
    let mut raw = raw.statement("INSERT INTO t VALUES (3)").statement("BEGIN").sync();
    assert_eq!(raw.answers(), "CCZT");
    assert_eq!(count().await, "1");
    let mut raw = raw.message(b'Q', b"COMMIT\0");
    assert_eq!(raw.answers(), "CZI");
    assert_eq!(count().await, "2");
    // A simple query ends what was not ended by a Sync.
    let mut raw = raw.statement("INSERT INTO t VALUES (4)").message(b'Q', b"SELECT 1\0");
    assert_eq!(raw.answers(), "CTDCZI");
    assert_eq!(count().await, "3");
    // A job cannot be in a transaction: what came before it is kept.
    let mut raw = raw.statement("INSERT INTO t VALUES (5)").statement("BACKUP t INTO 'nodelocal://1/p'").sync();
    assert_eq!(raw.answers(), "CDCZI");
    assert_eq!(count().await, "4");
    run(&client, "DROP TABLE t; RESTORE TABLE t FROM LATEST IN 'nodelocal://1/p'").await;
    assert_eq!(count().await, "4");
}

#[tokio::test]
async fn what_a_pipeline_does_is_checked_at_its_end() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(
        &client,
        "CREATE TABLE p (id INT PRIMARY KEY); CREATE TABLE c (p INT REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    )
    .await;
    let raw = Raw::connect(&server);
    let mut raw = raw.statement("INSERT INTO c VALUES (1)").statement("SELECT 1").sync();
    assert_eq!(raw.answers(), "CDCEZI");
    assert_eq!(value(&client, "SELECT count(*) FROM c").await, "0");
    let mut raw = raw.statement("INSERT INTO c VALUES (1)").statement("INSERT INTO p VALUES (1)").sync();
    assert_eq!(raw.answers(), "CCZI");
    assert_eq!(value(&client, "SELECT count(*) FROM c").await, "1");
}

#[tokio::test]
async fn a_flush_shows_results_before_the_transaction_ends() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5)").await;
    let raw = Raw::connect(&server);
    let mut raw = raw.statement("INSERT INTO t VALUES (6)").message(b'H', b"");
    assert_eq!(raw.answers_until(b'C'), "C");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "5");
    // A portal goes on, in parts, as long as there is no Sync.
    let limit = [b"\0", &2_u32.to_be_bytes()[..]].concat();
    let raw = raw.execute("SELECT id FROM t ORDER BY id", 4).message(b'E', &limit).message(b'E', &limit);
    let mut raw = raw.sync();
    assert_eq!(raw.answers(), "DDDDsDDCCZI");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "6");
    // What is closed before the Sync is no transaction of several statements.
    let mut raw = raw.statement("INSERT INTO t VALUES (7)").message(b'C', b"P\0").sync();
    assert_eq!(raw.answers(), "C3ZI");
    // Rows of a COPY follow the Sync that drivers send with it, which is not answered.
    let mut raw = raw.statement("COPY t FROM STDIN").sync().message(b'd', b"8\n9\n").message(b'c', b"").sync();
    assert_eq!(raw.answers(), "GCZI");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "9");
}
