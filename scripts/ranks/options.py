"""The options that all programs here have."""

import argparse
import os
import pathlib

from . import environment, machine

# MAX_STR_LEN of NCCL's plugin/net.cc, less the end of the text.
NCCL_NAME_MAX = 254
# For options by which the leading process tells its ranks what they are.
HIDDEN = argparse.SUPPRESS


def parser(doc):
    """A parser with the common options; the program's docstring is its help."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--ranks", type=int, default=2, metavar="N", help="processes, one for each GPU (default 2)")
    made.add_argument("--share-gpus", action="store_true", help="let several ranks use one GPU, if there are fewer GPUs than ranks")
    made.add_argument("--plugin", metavar="PATH", help="the plugin's file (default: the newest release build in target/)")
    made.add_argument("--interface", default="lo", metavar="NAME", help="NCCL_SOCKET_IFNAME (default lo)")
    made.add_argument("--env", action="append", default=[], metavar="VAR=VALUE", help="one more variable for all ranks")
    made.add_argument("--backend", choices=("nccl", "gloo"), default="nccl", help="gloo rehearses the program without a GPU")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu goes with gloo")
    made.add_argument("--keep", metavar="FOLDER", help="keep the ranks' output and NCCL's logs here, in a folder for each start")
    made.add_argument("--json", metavar="FILE", help="write the results as a document")
    made.add_argument("--machine", metavar="NAME", help="what the document calls this machine (default: its host name)")
    made.add_argument("--commit", metavar="HASH", help="the commit that the plugin was built from (default: this work tree's)")
    made.add_argument("--as-rank", type=int, help=HIDDEN)
    made.add_argument("--gpus", type=int, help=HIDDEN)
    made.add_argument("--store-port", type=int, help=HIDDEN)
    made.add_argument("--say-to", type=int, help=HIDDEN)
    return made


def checked(made):
    """The options of this process. What cannot work ends it with a sentence."""
    options = made.parse_args()
    options.load_per_core = machine.load_per_core()
    if options.ranks < 2:
        made.error("--ranks: at least 2, as one rank needs no network")
    if (options.backend == "gloo") != (options.device == "cpu"):
        made.error("--backend gloo and --device cpu go together")
    for pair in options.env:
        if not environment.is_pair(pair):
            made.error(f"--env {pair}: expected VAR=VALUE")
    if options.as_rank is None and options.backend == "nccl":
        options.plugin = found_plugin(made, options.plugin)
    return options


def found_plugin(made, path):
    """The plugin's file as an absolute path, because NCCL opens a path as it is given."""
    if path is None:
        root = pathlib.Path(__file__).resolve().parents[2]
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
        path = target / "release" / "libnccl_net_gputcp.so"
    return file_for_nccl(made, path, ": build it (cargo build --release -p gputcp-plugin) or name it with --plugin")


def file_for_nccl(made, path, advice=""):
    """An absolute path of a file that NCCL can open."""
    path = pathlib.Path(path).resolve()
    if "," in str(path) or len(str(path)) > NCCL_NAME_MAX:
        made.error(f"NCCL cannot open {path}: a comma separates plugins, and names have {NCCL_NAME_MAX} bytes at most")
    if not path.is_file():
        made.error(f"there is no plugin at {path}{advice}")
    return str(path)
