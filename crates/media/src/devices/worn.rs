//! Whether what somebody hears with is worn on the head, so that nobody else in the room hears it.
//!
//! Systems say so in different ways, and often only in a device's name. What is not known counts as a loudspeaker.

/// What a system calls a kind of device that is worn: PulseAudio's `device.form_factor` and types of ports, in lower case.
const WORN_KINDS: &[&str] = &["headset", "headphone", "headphones", "handset", "earpiece", "hearing aid"];
/// Words in the names of devices that are worn, in the languages in which systems and makers name them.
const WORN_WORDS: &[&str] = &[
    "headset",
    "headphone",
    "earphone",
    "earbud",
    "earpiece",
    "airpods",
    "buds",
    "hands-free",
    "handsfree",
    "kopfhörer",
    "hörer",
    "casque",
    "écouteur",
    "oreillette",
    "auricular",
    "cuffie",
    "auriculares",
    "fones de ouvido",
    "hoofdtelefoon",
    "słuchawk",
    "наушник",
    "гарнитура",
    "ヘッドホン",
    "ヘッドセット",
    "耳机",
];
/// A name that has one of these as well is none of a device that is worn: a headphone jack's other use.
const LOUD_WORDS: &[&str] = &["speaker", "lautsprecher", "haut-parleur", "altavoz", "hdmi", "displayport"];

/// By the kind that the system states, if it states one, else by the name.
pub fn is_worn(kind: Option<&str>, name: &str) -> bool {
    if let Some(kind) = kind.map(str::to_lowercase).filter(|kind| !kind.is_empty() && kind != "unknown") {
        return WORN_KINDS.contains(&kind.as_str());
    }
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    has(WORN_WORDS) && !has(LOUD_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_states_counts_before_the_name_and_the_unknown_is_loud() {
        for (kind, name, worn) in [
            (Some("headset"), "Thing", true),
            (Some("Headphones"), "Built-in Audio", true),
            (Some("speaker"), "Headset of somebody", false),
            (Some("Unknown"), "WH-1000 Headphones", true),
            (None, "Kopfhörer (USB)", true),
            (None, "AirPods Pro", true),
            (None, "Built-in Audio Analog Stereo", false),
            (None, "Speaker + Headphones", false),
            (None, "Null Output (spk)", false),
        ] {
            assert_eq!(is_worn(kind, name), worn, "{kind:?}, {name}");
        }
    }
}
