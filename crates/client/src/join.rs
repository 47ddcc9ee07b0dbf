//! Join links: `bellwire://join?server=wss%3A%2F%2FHOST&token=TOKEN`, as they are mailed to each party of a booking, and
//! `bellwire://room?server=..&token=..&room=ROOM` for each person who may enter a room.

use bellwire_signaling::{RoomId, SOCKET_PATH, Token};
use thiserror::Error;
use url::Url;

/// A link that says where to sign in, and with what. Printing it shows no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinLink {
    pub server: Url,
    pub token: Token,
    /// The room that the link leads to; its token is good for that room alone.
    pub room: Option<RoomId>,
}

/// Why a text is no join link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadLink {
    #[error("this is not a link")]
    NotALink,
    #[error("this link is not one of Bellwire's: it begins neither with bellwire://join nor with bellwire://room")]
    NotBellwire,
    #[error("the link names no server, or more than one")]
    NoServer,
    #[error("the link's server is not of the form ws://HOST or wss://HOST")]
    BadServer,
    #[error("the link holds no token, or more than one")]
    NoToken,
    #[error("the link's token is damaged")]
    BadToken,
    #[error("the link names no room, more than one, or a damaged one")]
    NoRoom,
}

impl JoinLink {
    /// Reads a link. Parameters that it does not know are passed over.
    pub fn parse(text: &str) -> Result<Self, BadLink> {
        let link = Url::parse(text.trim()).map_err(|_| BadLink::NotALink)?;
        let to_room = match link.host_str() {
            Some("join") => false,
            Some("room") => true,
            Some(_) | None => return Err(BadLink::NotBellwire),
        };
        if link.scheme() != "bellwire" || !matches!(link.path(), "" | "/") {
            return Err(BadLink::NotBellwire);
        }
        let server = only(&link, "server").ok_or(BadLink::NoServer)?;
        let server = Url::parse(&server).map_err(|_| BadLink::BadServer)?;
        socket_url(&server).ok_or(BadLink::BadServer)?;
        let token = only(&link, "token").ok_or(BadLink::NoToken)?;
        let token = Token::new(token).map_err(|_| BadLink::BadToken)?;
        let room = match only(&link, "room") {
            Some(room) if to_room => Some(RoomId::new(room).map_err(|_| BadLink::NoRoom)?),
            None if to_room => return Err(BadLink::NoRoom),
            Some(_) | None => None,
        };
        Ok(Self { server, token, room })
    }
}

fn only(link: &Url, name: &str) -> Option<String> {
    let mut values = link.query_pairs().filter(|(key, _)| key == name);
    let value = values.next()?.1.into_owned();
    (values.next().is_none() && !value.is_empty()).then_some(value)
}

/// Where the socket is, for a server that is named with or without its path.
pub(crate) fn socket_url(server: &Url) -> Option<Url> {
    let plain = server.username().is_empty() && server.password().is_none();
    if !matches!(server.scheme(), "ws" | "wss") || server.host_str().is_none() || !plain {
        return None;
    }
    let mut url = server.clone();
    url.set_fragment(None);
    if matches!(url.path(), "" | "/") {
        url.set_path(SOCKET_PATH);
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, BadLink>) {
        let found = JoinLink::parse(text).map(|link| {
            let room = link.room.map(|room| format!(" {room}")).unwrap_or_default();
            format!("{} {}{room}", link.server, link.token.reveal())
        });
        assert_eq!(found.as_deref().map_err(|e| *e), expected, "{text}");
    }

    #[test]
    fn a_join_link_names_a_server_and_a_token_or_says_what_is_wrong() {
        check("bellwire://join?server=wss%3A%2F%2Fcalls.example&token=a.b.c", Ok("wss://calls.example/ a.b.c"));
        check("bellwire://join/?server=ws://127.0.0.1:8080&token=t", Ok("ws://127.0.0.1:8080/ t"));
        check("  bellwire://join?token=t&server=wss://h/own/path&lang=de\n", Ok("wss://h/own/path t"));
        check("BELLWIRE://join?server=wss://[::1]:9&token=t", Ok("wss://[::1]:9/ t"));
        check("bellwire://room?server=wss://h&token=t&room=r1", Ok("wss://h/ t r1"));
        check("bellwire://join?server=wss://h&token=t&room=r1", Ok("wss://h/ t"));
        check("bellwire://room?server=wss://h&token=t", Err(BadLink::NoRoom));
        check("bellwire://room?server=wss://h&token=t&room=a&room=b", Err(BadLink::NoRoom));
        check("bellwire://room?server=wss://h&token=t&room=a%20b", Err(BadLink::NoRoom));
        check("", Err(BadLink::NotALink));
        check("join?server=wss://h&token=t", Err(BadLink::NotALink));
        check("https://join?server=wss://h&token=t", Err(BadLink::NotBellwire));
        check("bellwire://leave?server=wss://h&token=t", Err(BadLink::NotBellwire));
        check("bellwire://join/now?server=wss://h&token=t", Err(BadLink::NotBellwire));
        check("bellwire:join?server=wss://h&token=t", Err(BadLink::NotBellwire));
        check("bellwire://join?token=t", Err(BadLink::NoServer));
        check("bellwire://join?server=&token=t", Err(BadLink::NoServer));
        check("bellwire://join?server=wss://a&server=wss://b&token=t", Err(BadLink::NoServer));
        check("bellwire://join?server=https://h&token=t", Err(BadLink::BadServer));
        check("bellwire://join?server=h&token=t", Err(BadLink::BadServer));
        check("bellwire://join?server=wss://who:what@h&token=t", Err(BadLink::BadServer));
        check("bellwire://join?server=wss://h", Err(BadLink::NoToken));
        check("bellwire://join?server=wss://h&token=", Err(BadLink::NoToken));
        check("bellwire://join?server=wss://h&token=a&token=b", Err(BadLink::NoToken));
        check("bellwire://join?server=wss://h&token=a%20b", Err(BadLink::BadToken));
        let long = format!("bellwire://join?server=wss://h&token={}", "x".repeat(5000));
        check(&long, Err(BadLink::BadToken));
    }

    #[test]
    fn the_socket_path_is_added_only_where_there_is_none() {
        let socket = |text: &str| socket_url(&Url::parse(text).unwrap()).map(String::from);
        assert_eq!(socket("ws://h:1").as_deref(), Some("ws://h:1/v1/socket"));
        assert_eq!(socket("wss://h/").as_deref(), Some("wss://h/v1/socket"));
        assert_eq!(socket("wss://h/v1/socket").as_deref(), Some("wss://h/v1/socket"));
        assert_eq!(socket("wss://h/calls/socket#x").as_deref(), Some("wss://h/calls/socket"));
        assert_eq!(socket("http://h"), None);
    }
}
