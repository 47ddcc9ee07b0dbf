// One side of a call as docs/protocol.md has it, with the browser's own RTCPeerConnection: what a web app would be.
// A test starts it with `peer = new Peer({server, token, booking, dials})` and reads its fields.

class Peer {
  constructor({ server, token, booking, dials }) {
    this.booking = booking;
    this.dials = dials;
    this.phase = "signing in";
    this.phases = [];
    this.faults = [];
    this.ending = null;
    this.call = null;
    this.connections = new Map();
    this.commands = 0;
    this.recorded = [];
    this.samples = 0;
    this.socket = new WebSocket(`${server}/v1/socket`, "bellwire.v1");
    this.socket.onopen = () => {
      const device = `web-${crypto.randomUUID()}`;
      this.socket.send(JSON.stringify({ type: "hello", version: 1, token, device }));
    };
    this.socket.onmessage = (message) => this.frame(JSON.parse(message.data));
    this.socket.onclose = (close) => this.ending ?? this.faults.push(`socket closed: ${close.code} ${close.reason}`);
  }

  command(type, fields) {
    this.commands += 1;
    this.socket.send(JSON.stringify({ type: "command", id: `c${this.commands}`, command: { type, ...fields } }));
  }

  frame(frame) {
    switch (frame.type) {
      case "welcome":
        this.phase = "signed in";
        return;
      case "ack":
        return;
      case "refused":
        // What crossed a change of the call is refused as stale, and that is no fault.
        if (!["wrong_state", "stale_generation"].includes(frame.error.code)) this.faults.push(frame.error.code);
        return;
      case "event":
        return this.event(frame.event);
      default:
        this.faults.push(`unknown frame ${frame.type}`);
    }
  }

  event(event) {
    switch (event.type) {
      case "bookings":
        for (const { booking, presence } of event.bookings) this.presence(booking, presence);
        return;
      case "presence":
        return this.presence(event.booking, event.presence);
      // What the other device finds of itself, and of its network before a call: shown nowhere here.
      case "health":
      case "readiness":
        return;
      case "call":
        return this.view(event.view);
      case "description":
        return this.connections.get(event.generation)?.hear_description(event.kind, event.sdp);
      case "candidates":
        return this.connections.get(event.generation)?.hear_candidates(event.candidates);
      default:
        this.faults.push(`unknown event ${event.type}`);
    }
  }

  // Dials once, when the other party can be reached.
  presence(booking, presence) {
    if (!this.dials || this.dialled || booking !== this.booking || presence.type !== "online") return;
    this.dialled = true;
    this.command("invite", { booking, attempt: crypto.randomUUID() });
  }

  view(view) {
    if (this.version >= view.version && this.call === view.call) return;
    this.version = view.version;
    this.call = view.call;
    this.phase = view.phase.type;
    this.phases.push(view.phase.type);
    const incoming = view.you === "callee";
    if (incoming && view.phase.type === "inviting") this.command("ringing", { call: view.call });
    if (incoming && view.phase.type === "ringing") this.command("accept", { call: view.call });
    if (view.phase.connection) this.connect(view.phase.connection);
    if (view.phase.type === "ended") {
      this.ending = view.phase.ending;
      for (const connection of this.connections.values()) connection.close();
      this.socket.close();
    }
  }

  connect({ generation, offers, go }) {
    if (!this.connections.has(generation)) this.connections.set(generation, new Connection(this, generation));
    if (go && offers) this.connections.get(generation).offer();
  }

  hang_up() {
    this.command("hang_up", { call: this.call });
  }

  // What was heard so far: 16-bit samples at `rate`, one channel, in base64.
  recording() {
    const all = new Int16Array(this.samples);
    let at = 0;
    for (const part of this.recorded) {
      all.set(part, at);
      at += part.length;
    }
    const bytes = new Uint8Array(all.buffer);
    let text = "";
    for (let from = 0; from < bytes.length; from += 32768) {
      text += String.fromCharCode(...bytes.subarray(from, from + 32768));
    }
    return { rate: this.rate, base64: btoa(text) };
  }
}

// One generation of the call's connection.
class Connection {
  constructor(peer, generation) {
    this.peer = peer;
    this.generation = generation;
    this.waiting = [];
    this.batch = [];
    this.pc = new RTCPeerConnection();
    this.pc.onicecandidate = ({ candidate }) => this.candidate(candidate);
    this.pc.ontrack = ({ track, streams }) => this.listen(track, streams[0] ?? new MediaStream([track]));
    // Descriptions are worked on one after the other, in the order in which they came.
    this.work = this.open();
  }

  async open() {
    const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const own = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    this.own = own;
    this.pc.addTrack(own.getAudioTracks()[0], own);
    this.say("ready", {});
  }

  say(type, fields) {
    this.peer.command(type, { call: this.peer.call, generation: this.generation, ...fields });
  }

  then(step) {
    this.work = this.work.then(step).catch((error) => this.peer.faults.push(`${error}`));
  }

  offer() {
    if (this.offered) return;
    this.offered = true;
    this.then(async () => {
      await this.pc.setLocalDescription(await this.pc.createOffer());
      this.say("describe", { kind: "offer", sdp: this.pc.localDescription.sdp });
    });
  }

  hear_description(kind, sdp) {
    this.then(async () => {
      await this.pc.setRemoteDescription({ type: kind, sdp });
      for (const candidate of this.waiting.splice(0)) await this.pc.addIceCandidate(candidate);
      if (kind !== "offer") return;
      await this.pc.setLocalDescription(await this.pc.createAnswer());
      this.say("describe", { kind: "answer", sdp: this.pc.localDescription.sdp });
    });
  }

  hear_candidates(candidates) {
    this.then(async () => {
      if (!this.pc.remoteDescription) this.waiting.push(...candidates);
      else for (const candidate of candidates) await this.pc.addIceCandidate(candidate);
    });
  }

  // Candidates travel in batches: what comes within 20 ms goes together; null says that there are no more.
  candidate(candidate) {
    if (candidate?.candidate) {
      const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
      this.batch.push({ candidate: line, sdpMid, sdpMLineIndex });
    }
    this.done ||= candidate === null;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.say("candidates", { candidates: this.batch.splice(0), done: this.done });
    }, 20);
  }

  async listen(track, stream) {
    // Sound is decoded only for somebody who plays it.
    document.getElementById("speaker").srcObject = stream;
    const frames = new MediaStreamTrackProcessor({ track }).readable.getReader();
    let hearing = false;
    for (;;) {
      const { done, value } = await frames.read();
      if (done) return;
      const samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      this.peer.rate = value.sampleRate;
      value.close();
      this.peer.recorded.push(Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767));
      this.peer.samples += samples.length;
      if (!hearing && (await this.packets()) >= 3) {
        hearing = true;
        this.say("hearing", { hearing: true });
      }
    }
  }

  async packets() {
    let packets = 0;
    for (const report of (await this.pc.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "audio") packets = report.packetsReceived;
    }
    return packets;
  }

  close() {
    this.pc.close();
    this.own?.getTracks().forEach((track) => track.stop());
  }
}

window.Peer = Peer;
