//! What is typed of a running server.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use url::Url;

/// Where the running server is.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ServerArgs {
    /// The running server, such as http://127.0.0.1:9093 [default: by the configuration]
    #[arg(long, env = "ALPHA_SERVER", value_name = "URL")]
    pub server: Option<Url>,
    /// A file that holds the token for the server; ALPHA_TOKEN holds the token itself [default: by the configuration]
    #[arg(long, env = "ALPHA_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Arguments of `alpha serve`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ServeArgs {
    /// The address to listen on; port 0 takes a free one [default: by the configuration, else 127.0.0.1:9093]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}
