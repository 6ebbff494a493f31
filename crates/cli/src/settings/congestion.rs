//! The congestion control that the data sockets use.

use std::str::FromStr;

use gputcp::CongestionControl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The congestion control that was asked for, or agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Congestion {
    /// The one that suits where both ends are.
    Auto,
    /// This one.
    Named(CongestionControl),
}

impl FromStr for Congestion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == AUTO { Ok(Self::Auto) } else { text.parse().map(Self::Named) }
    }
}

impl TryFrom<String> for Congestion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Congestion> for String {
    fn from(congestion: Congestion) -> Self {
        match congestion {
            Congestion::Auto => AUTO.into(),
            Congestion::Named(name) => name.as_str().into(),
        }
    }
}

const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_alike_from_a_flag_and_from_the_wire() {
        for good in ["auto", "cubic", "bbr"] {
            let json = serde_json::json!(good);
            assert_eq!(serde_json::from_value(json.clone()).ok(), good.parse::<Congestion>().ok());
            assert_eq!(serde_json::to_value(good.parse::<Congestion>().unwrap()).unwrap(), json);
        }
        for bad in ["", "Cubic", "no such", "bbr\n"] {
            assert!(bad.parse::<Congestion>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Congestion>(serde_json::json!(bad)).is_err(), "{bad:?}");
        }
    }
}
