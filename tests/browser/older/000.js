// Random match with relay. `start({url, token})`.

window.start = ({ url, token }) => {
  const socket = io(url, { auth: { token } });
  let partner = null;
  let ready = null;

  async function connect() {
    const connection = await sound.createPeerConnection((candidate) => {
      socket.emit("ice_candidate", { to: partner, candidate });
    });
    return { connection, candidates: sound.candidateQueue(connection) };
  }

  socket.on("connect", () => socket.emit("find_partner", { userName: "Page", userAge: 30 }));
  socket.on("partner_found", sound.inOrder(async ({ socketId, initiator }) => {
    partner = socketId;
    ready = await connect();
    if (!initiator) return;
    const offer = await ready.connection.createOffer();
    await ready.connection.setLocalDescription(offer);
    socket.emit("webrtc_offer", { to: partner, offer });
  }));
  socket.on("webrtc_offer", sound.inOrder(async ({ offer, from }) => {
    await ready.connection.setRemoteDescription(offer);
    await ready.candidates.flush();
    const answer = await ready.connection.createAnswer();
    await ready.connection.setLocalDescription(answer);
    socket.emit("webrtc_answer", { to: from, answer });
  }));
  socket.on("webrtc_answer", sound.inOrder(async ({ answer }) => {
    await ready.connection.setRemoteDescription(answer);
    await ready.candidates.flush();
  }));
  socket.on("ice_candidate", sound.inOrder(({ candidate }) => ready.candidates.add(candidate)));
  for (const error of ["webrtc_error", "match_error"]) socket.on(error, (e) => sound.faults.push(`${e.code}`));
};
