//! What the laboratory asks of the kernel beyond programs: threads in other namespaces, and TUN devices.

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Tun, Waker, in_namespace, is_possible, wait};
#[cfg(target_os = "linux")]
pub use linux::{Tun, Waker, in_namespace, is_possible, wait};

#[cfg(target_os = "linux")]
mod linux {
    use anyhow::{Context, Result, bail};
    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::fs::OFlags;
    use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::fs::OpenOptionsExt;
    use std::time::Duration;

    pub fn is_possible() -> Result<(), &'static str> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root");
        }
        if !std::path::Path::new("/dev/net/tun").exists() {
            return Err("there is no /dev/net/tun");
        }
        Ok(())
    }

    /// Does something in a network namespace, on a thread of its own: what it opens stays there.
    pub fn in_namespace<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = format!("/run/netns/{name}");
        let namespace = File::open(&file).with_context(|| format!("there is no namespace {name}"))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter {file}"))?;
                work()
            });
            thread.join().unwrap_or_else(|_| bail!("a thread in a namespace ended badly"))
        })
    }

    /// A device whose packets are read and written here; it is gone when this is dropped.
    pub struct Tun(File);

    /// `struct ifreq` of netdevice(7), as TUNSETIFF takes it.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }

    /// Bare IP packets, without a header before them (linux/if_tun.h).
    const IFF_TUN: u16 = 0x0001;
    const IFF_NO_PI: u16 = 0x1000;
    const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);

    impl Tun {
        pub fn open(namespace: &str, device: &str) -> Result<Self> {
            let mut request = Request { name: [0; 16], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
            let Some(name) = request.name.get_mut(..device.len()).filter(|name| name.len() < 16) else {
                bail!("{device} is too long a name for a device");
            };
            name.copy_from_slice(device.as_bytes());
            in_namespace(namespace, move || {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                    .open("/dev/net/tun")
                    .context("/dev/net/tun cannot be opened")?;
                // SAFETY: TUNSETIFF reads one `struct ifreq`, which `Request` has the size and layout of.
                unsafe { ioctl(&file, Setter::<TUNSETIFF, Request>::new(request)) }
                    .with_context(|| format!("no device {device} can be made"))?;
                Ok(Self(file))
            })
        }

        /// The next packet that is there.
        pub fn read(&mut self, bytes: &mut [u8]) -> Option<usize> {
            self.0.read(bytes).ok().filter(|length| *length > 0)
        }

        /// A device that is not up loses it, as a wire would.
        pub fn write(&mut self, packet: &[u8]) {
            let _ = self.0.write(packet);
        }
    }

    /// Ends a [`wait`] from another thread.
    pub struct Waker(OwnedFd);

    impl Waker {
        pub fn new() -> Result<Self> {
            Ok(Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
        }

        pub fn wake(&self) {
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }
    }

    /// Sleeps until a packet or an order is there, or for so long.
    pub fn wait(tuns: &[Tun; 2], waker: &Waker, longest: Option<Duration>) -> Result<()> {
        let longest = longest.and_then(|longest| Timespec::try_from(longest).ok());
        let mut on = [
            PollFd::new(&tuns[0].0, PollFlags::IN),
            PollFd::new(&tuns[1].0, PollFlags::IN),
            PollFd::new(&waker.0, PollFlags::IN),
        ];
        match poll(&mut on, longest.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let _ = rustix::io::read(&waker.0, &mut [0_u8; 8]);
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use anyhow::{Result, bail};
    use std::time::Duration;

    const WHY: &str = "network namespaces are Linux's";

    pub enum Tun {}
    pub enum Waker {}

    pub fn is_possible() -> Result<(), &'static str> {
        Err(WHY)
    }

    pub fn in_namespace<T: Send>(_name: &str, _work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        bail!(WHY)
    }

    impl Tun {
        pub fn open(_namespace: &str, _device: &str) -> Result<Self> {
            bail!(WHY)
        }

        pub fn read(&mut self, _bytes: &mut [u8]) -> Option<usize> {
            match *self {}
        }

        pub fn write(&mut self, _packet: &[u8]) {
            match *self {}
        }
    }

    impl Waker {
        pub fn new() -> Result<Self> {
            bail!(WHY)
        }

        pub fn wake(&self) {
            match *self {}
        }
    }

    pub fn wait(_tuns: &[Tun; 2], waker: &Waker, _longest: Option<Duration>) -> Result<()> {
        match *waker {}
    }
}
