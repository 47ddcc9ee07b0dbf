//! The Node process behind one or more clients: started, asked and listened to by lines of JSON.

use crate::common::CAP;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Bytes as they stand in what is sent and heard.
pub fn binary(bytes: &[u8]) -> Value {
    json!({"$binary": BASE64_STANDARD.encode(bytes)})
}

/// A Node process. It ends with the last clone.
#[derive(Clone)]
pub struct Driver(Arc<Process>);

struct Process {
    lines: mpsc::UnboundedSender<String>,
    shared: Arc<Mutex<Shared>>,
    _child: Child,
}

#[derive(Default)]
struct Shared {
    count: u64,
    answers: HashMap<u64, oneshot::Sender<Value>>,
    sockets: HashMap<String, mpsc::UnboundedSender<(String, Vec<Value>)>>,
}

impl Driver {
    pub fn start() -> Self {
        let folder = installed();
        let mut child = tokio::process::Command::new("node")
            .arg(folder.join("driver.mjs"))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("`node` (18 or later) is installed: the older apps' clients run on it");
        let shared = Arc::<Mutex<Shared>>::default();
        let (lines, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(queue, child.stdin.take().expect("its stdin")));
        let stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        tokio::spawn(read(stdout.lines(), shared.clone()));
        Self(Arc::new(Process { lines, shared, _child: child }))
    }

    /// A name for another socket, and where its events come.
    pub fn socket(&self) -> (String, Heard) {
        let mut shared = self.0.shared.lock().expect("the driver");
        shared.count += 1;
        let key = format!("s{}", shared.count);
        let (events, queue) = mpsc::unbounded_channel();
        shared.sockets.insert(key.clone(), events);
        (key, Heard { queue, waiting: VecDeque::new() })
    }

    pub async fn ask(&self, what: &str, mut with: Value) -> Value {
        let (answer, value) = oneshot::channel();
        let id = {
            let mut shared = self.0.shared.lock().expect("the driver");
            shared.count += 1;
            let id = shared.count;
            shared.answers.insert(id, answer);
            id
        };
        with["id"] = json!(id);
        with["do"] = json!(what);
        self.0.lines.send(with.to_string()).expect("the driver runs");
        let Ok(answer) = timeout(CAP, value).await else { panic!("no answer to {what}: {with}") };
        let mut answer = answer.expect("the driver runs");
        assert!(answer.get("fault").is_none(), "{what}: {}", answer["fault"]);
        answer["value"].take()
    }
}

async fn write(mut queue: mpsc::UnboundedReceiver<String>, mut stdin: ChildStdin) {
    while let Some(line) = queue.recv().await {
        if stdin.write_all((line + "\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(mut lines: Lines<BufReader<ChildStdout>>, shared: Arc<Mutex<Shared>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let mut line: Value = serde_json::from_str(&line).expect("a line of JSON");
        let mut shared = shared.lock().expect("the driver");
        if let Some(answer) = line["id"].as_u64().and_then(|id| shared.answers.remove(&id)) {
            answer.send(line).ok();
        } else if let (Some(key), Value::Array(args)) = (line["socket"].as_str(), line["args"].clone()) {
            let event = line["event"].as_str().expect("a name").to_owned();
            shared.sockets.get(key).map(|socket| socket.send((event, args)));
        } else {
            panic!("the driver said {}", line.take());
        }
    }
    // Nothing more comes: whoever waits hears of it.
    let mut shared = shared.lock().expect("the driver");
    shared.answers.clear();
    shared.sockets.clear();
}

/// What one socket heard and nobody has taken yet.
pub struct Heard {
    queue: mpsc::UnboundedReceiver<(String, Vec<Value>)>,
    waiting: VecDeque<(String, Vec<Value>)>,
}

impl Heard {
    /// The first event with one of these names.
    pub async fn first_of(&mut self, names: &[&str]) -> (String, Vec<Value>) {
        if let Some(at) = self.waiting.iter().position(|(name, _)| names.contains(&name.as_str())) {
            return self.waiting.remove(at).expect("it is there");
        }
        loop {
            let event = self.more(names).await;
            if names.contains(&event.0.as_str()) {
                return event;
            }
            self.waiting.push_back(event);
        }
    }

    pub async fn next(&mut self) -> (String, Vec<Value>) {
        match self.waiting.pop_front() {
            Some(event) => event,
            None => self.more(&["anything"]).await,
        }
    }

    pub fn has(&mut self, name: &str) -> bool {
        while let Ok(event) = self.queue.try_recv() {
            self.waiting.push_back(event);
        }
        self.waiting.iter().any(|(event, _)| event == name)
    }

    async fn more(&mut self, names: &[&str]) -> (String, Vec<Value>) {
        match timeout(CAP, self.queue.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the driver ended while {names:?} was waited for"),
            Err(_) => panic!("{names:?} did not come; there are {:?}", self.waiting),
        }
    }
}

/// The folder with the driver and the packages of its lock file, installed at the first use.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/older/js");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("older-js");
        fs::create_dir_all(&folder).expect("a folder below target");
        // Other test programs may be here at the same time.
        let turn = File::create(folder.join("turn")).expect("a lock");
        turn.lock().expect("the lock");
        let lock = fs::read_to_string(source.join("package-lock.json")).expect("the lock file");
        let mark = folder.join("installed");
        if fs::read_to_string(&mark).ok().as_ref() != Some(&lock) {
            for file in ["package.json", "package-lock.json"] {
                fs::copy(source.join(file), folder.join(file)).expect("a copy");
            }
            let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
            let mut command = Command::new(npm);
            command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder);
            let output = command.output().expect("`npm` is installed: it brings the older apps' clients");
            assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
            fs::write(&mark, lock).expect("a mark");
        }
        let driver = fs::read(source.join("driver.mjs")).expect("the driver");
        if fs::read(folder.join("driver.mjs")).ok().as_ref() != Some(&driver) {
            fs::write(folder.join("driver.mjs"), driver).expect("a copy");
        }
        folder
    })
}
