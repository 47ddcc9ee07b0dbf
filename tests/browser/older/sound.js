// What the pages of all older systems have in common: the microphone, the speaker, and what a test asks them.

const faults = [];
window.addEventListener("error", (e) => faults.push(`${e.message}`));
window.addEventListener("unhandledrejection", (e) => faults.push(`${e.reason}`));

const connections = [];

async function getMicrophone() {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  return navigator.mediaDevices.getUserMedia({ audio: plain });
}

// A connection as these apps make it: own tracks in, the other's to a speaker.
async function createPeerConnection(onCandidate) {
  const connection = new RTCPeerConnection();
  connections.push(connection);
  connection.onicecandidate = ({ candidate }) => candidate && onCandidate(candidate);
  connection.ontrack = ({ track, streams }) => {
    const speaker = document.body.appendChild(document.createElement("audio"));
    speaker.autoplay = true;
    speaker.srcObject = streams[0] ?? new MediaStream([track]);
  };
  const stream = await getMicrophone();
  for (const track of stream.getTracks()) connection.addTrack(track, stream);
  return connection;
}

// Candidates that came before the description wait for it, in their order.
function candidateQueue(connection) {
  const waiting = [];
  return {
    async add(candidate) {
      if (connection.remoteDescription) await connection.addIceCandidate(candidate);
      else waiting.push(candidate);
    },
    async flush() {
      for (const candidate of waiting.splice(0)) await connection.addIceCandidate(candidate);
    },
  };
}

// Steps that answer to messages run one after the other, in the order of the messages.
let work = Promise.resolve();
const inOrder = (step) => (...args) => {
  work = work.then(() => step(...args)).catch((e) => faults.push(`${e}`));
};

// For the test: how the newest connection stands, and how much sound it played that is no silence.
window.heard = async () => {
  const connection = connections.at(-1);
  const found = { state: connection?.connectionState ?? "none", energy: 0, packets: 0, faults };
  if (!connection) return found;
  for (const report of (await connection.getStats()).values()) {
    if (report.type !== "inbound-rtp" || report.kind !== "audio") continue;
    found.energy += report.totalAudioEnergy ?? 0;
    found.packets += report.packetsReceived ?? 0;
  }
  return found;
};

window.sound = { createPeerConnection, candidateQueue, inOrder, faults };
