//! Knows where the users of the four systems that telex carries on find again what they had.
//! Never: any of it as code.
//!
//! Every documented function of jQluster::Server 0.03, Net::Server::Framework 1.2, MR::IProto 0.0.24 and
//! AnyEvent::MP 1.30 and 2.02 stands in one of the tables below, with its place here, what differs, or why it has
//! none. *Not yet* means that a place is planned and not built. Where they and the [protocol](crate::protocol)
//! differ in what is said on the wire, the protocol holds.
//!
//! One thing differs for all four: the processes of a machine meet at one switch, `telexd`. No two of them need an
//! address of each other, and the switch tells which programs are there.
//!
//! # jQluster::Server
//!
//! It was a hub without sockets, which is what a [`Hub`](crate::hub::Hub) is; [its page](crate::hub) has a table of
//! all in which the two behave differently. Browsers reach the daemon through any bridge between a WebSocket and a
//! Unix socket: a text frame is a line.
//!
//! | theirs | here | what differs |
//! | --- | --- | --- |
//! | `new(logger => …)` | [`Hub::new`](crate::hub::Hub::new) | the logger is required, and its levels are a [`Level`](crate::hub::Level) |
//! | `register(unique_id, message, sender)` | [`Hub::register`](crate::hub::Hub::register) | tells the node ID that came out, and which senders failed |
//! | `distribute(message)` | [`Hub::distribute`](crate::hub::Hub::distribute), [`Hub::distribute_from`](crate::hub::Hub::distribute_from) | never waits; a sender that fails hides the message from no other one. The second takes no sender but the connection's own |
//! | `unregister(unique_id)` | [`Hub::unregister`](crate::hub::Hub::unregister) | requests that the connection left open are answered |
//! | message types `select_and_get`, `select_and_listen`, `signal` | any [`message_type`](crate::client::Message::message_type) | pass through unchanged; every request type has its `_reply` |
//! | several pages with one node ID | instances of a node | [`Delivery::One`](crate::client::Delivery::One) hands each message to one of them; [`Handle::gather`](crate::client::Handle::gather) collects all replies |
//! | `WebSocket->new(logger => …)`, `to_app` | the daemon `telexd` behind a bridge | no PSGI application: the daemon speaks lines over Unix sockets and TCP |
//! | `jqluster_server_websocket --host --port` | `telexd --listen ADDRESS` | |
//!
//! # Net::Server::Framework
//!
//! The registry is the daemon's memory, the spool is not built yet, and the rest is what a
//! [`service`](crate::service) does by itself; its page tells in what the two behave differently.
//!
//! | theirs | here | what differs |
//! | --- | --- | --- |
//! | `run`, `process_request` | [`Service::builder`](crate::service::Service::builder), [`Service::run`](crate::service::Service::run), [`Handle::on`](crate::client::Handle::on) | one function for each message type, in place of one that reads the socket; it answers calls through the switch and direct connections alike |
//! | `register`, `register('down')` | [`Handle::register_with`](crate::client::Handle::register_with) with [`endpoints`](crate::client::Register), [`Handle::unregister`](crate::client::Handle::unregister) | going down needs no word: the daemon sees the connection end. Many instances may have one name |
//! | `options`, `etc/*.conf`, `Config::file2hash` | `etc/telexd.toml` and `telexd --set`; [`profile`](crate::profile) for nodes; systemd for user, group and sockets | a fault is told with file, line and key |
//! | `encode`, `decode` (server and client) | none | lines are JSON, and bodies any JSON: [`body`](crate::client::Message::body) lends the text as it came, [`body_value`](crate::client::Message::body_value) reads it. Another coding travels inside as a [`text`](crate::client::text) |
//! | `Client::c_connect(name)` | [`Handle::dial`](crate::client::Handle::dial) | finds Unix sockets, too; tries all endpoints in turn, and none of a node that is down |
//! | `Client::talk(name, data)` | [`Handle::talk`](crate::client::Handle::talk), [`Handle::call`](crate::client::Handle::call) | errors are values, and the time is the caller's to set. *Not yet*: waiting for a job where nothing is there |
//! | `Client::log`, `Client::logging` | none | both were deprecated: the plugins `log-file`, `log-syslog` and `log-journal` have the daemon's log |
//! | `Spooler::put` `get` `mod` `del` `virgin` `archive` | *not yet* | |
//! | `DB::dbconnect` `get` `put` `do` | [`Handle::resolve`](crate::client::Handle::resolve), [`Handle::list`](crate::client::Handle::list) | the registry is asked, not read: it has no table |
//! | `Auth::authenticate` (`client`, `server`, `userpass`), `make_pass` | *not yet* for TCP | over Unix sockets the kernel says whose a connection is, and the plugin `filter-acl` what it may do |
//! | `Crypt::encrypt`, `decrypt` | none | over Unix sockets there is nothing to hide. *Not yet*: TLS |
//! | `Validate::verify_command` | the plugin `filter-schema` | JSON schemas, for each message type |
//! | `Format::format`, `Format::c2m`, `Errorcodes::c2m` | [`Error`](crate::client::Error), [`Code`](crate::wire::code::Code) | a variant for each code; `Display` is the sentence. A handler's own error is its sentence |
//! | hooks `configure`, `post_configure`, `pre_loop`, `pre_server_close` | the program's own code before and after it serves | |
//! | hooks `pre_accept`, `allow_deny`, `post_accept` | plugins of the daemon (`telex.filter`, `telex.events`) | |
//! | `log_file`, `log_level`, syslog | the plugins `log-file`, `log-syslog`, `log-journal`; the setting `log_level` | |
//! | `pid_file`, `user`, `group`, `setsid`, `background` | systemd | |
//!
//! # MR::IProto
//!
//! [`Switches`](crate::client::Switches) is a [`cluster`](crate::cluster) of switches; [the cluster's
//! page](crate::cluster) has a table of all in which the two behave differently.
//!
//! | theirs | here | what differs |
//! | --- | --- | --- |
//! | `new(%args)` | [`Switches::new`](crate::client::Switches::new) with [`Settings`](crate::cluster::Settings) | |
//! | `servers`, `Cluster->new(servers)`, `Server->new(host, port, weight)` | [`servers`](crate::cluster::servers()), [`Server`](crate::cluster::Server) | Unix sockets and IPv6, too |
//! | `balance`, `RR`, `HASH`, `KETAMA` | [`Balance`](crate::cluster::Balance) | five of them; an unknown name is an error |
//! | `Cluster->server(key)` | none | the balance chooses when a request is sent; [`Event`](crate::cluster::Event)s tell what it chose |
//! | `cluster`, `Connection->server`, `fh` | none | what is inside is not lent out |
//! | `max_parallel`, of all and of a server | [`max_parallel`](crate::cluster::Settings::max_parallel), [`max_parallel_per_server`](crate::cluster::Settings::max_parallel_per_server) | both can be set, and count for all ways of sending |
//! | `max_request_retries`, `retry_delay` | [the same](crate::cluster::Settings::max_request_retries) | |
//! | `connect_timeout`, `timeout` | [the same](crate::cluster::Settings::timeout), [`timeout_of`](crate::cluster::Settings::timeout_of) | of each try by default |
//! | `timeout(new)`, `set_timeout` | [`Switches::set_timeout`](crate::client::Switches::set_timeout) | |
//! | `tcp_nodelay`, `tcp_keepalive` | [the same](crate::cluster::Settings::tcp_nodelay) | the second is a time, and works over Unix sockets |
//! | `active` | [`Switches::set_active`](crate::client::Switches::set_active) | a server that failed comes back by itself |
//! | `weight` | [`Switches::set_weight`](crate::client::Switches::set_weight) | also while it runs |
//! | `debug`, `debug_cb`, `dump_no_ints` | [`Switches::set_debug`](crate::client::Switches::set_debug) | [events](crate::cluster::Event) in place of levels and dumps |
//! | `send(message)` | [`Switches::send`](crate::client::Switches::send) | an error in place of an exception and errno |
//! | `send(message, callback)` | [`Switches::send_then`](crate::client::Switches::send_then), [`Switches::send_async`](crate::client::Switches::send_async) | |
//! | `send_bulk(messages, callback?)` | [`Switches::send_bulk`](crate::client::Switches::send_bulk) | results in the order of the requests, one for each; a callback for each by `send_then` |
//! | `Chat`, `Chat1` | [`Switches::send`](crate::client::Switches::send) | they were the old names; the error tells whether it was a time-out |
//! | `disconnect_all`, of the client and of a server | [`Switches::disconnect_all`](crate::client::Switches::disconnect_all) | callbacks in flight are told |
//! | hash messages: `msg`, `data` | [`Ask::new`](crate::client::switches::Ask::new) | a node and a message type in place of a code |
//! | `key` | [`Message::key`](crate::cluster::Message::key) | |
//! | `no_reply` | [`Message::no_reply`](crate::cluster::Message::no_reply), [`Ask::signal`](crate::client::switches::Ask::signal) | |
//! | `retry`, `is_retry` | [`Message::retry`](crate::cluster::Message::retry), [`Message::is_retry`](crate::cluster::Message::is_retry) | |
//! | `pack`, `unpack` | none | bodies are JSON, so nothing is packed; a [`Call`](crate::cluster::Call) turns a type into its request and a reply into its type |
//! | `sync` | none | message ids are the library's |
//! | `Request`, `Response`, `Message`, `prefix` | [`Call`](crate::cluster::Call), [`Switches::call`](crate::client::Switches::call) | the type itself names its reply, in place of a search by class names |
//! | `Request->key`, `key_attr`, `retry`; `Response->retry`, `request` | [`Call::key`](crate::cluster::Call::key), [`Call::RETRY`](crate::cluster::Call::RETRY), [`Call::is_retry`](crate::cluster::Call::is_retry) | a reply does not carry its request: the caller has it |
//! | `NoResponse` | [`Message::no_reply`](crate::cluster::Message::no_reply) | |
//! | `Error->error`, `errno`, `request`, `is_error`, `error_message` | [`Error`](crate::cluster::Error) | the server, the number of tries, and whether it may have been executed in place of errno |
//! | `no_pool`, `norotateservers`, `rotateservers` | none | clusters share nothing; a server that fails is always passed over |
//! | `MR::IProto::Server` | [`Service`](crate::service::Service) | it answers all that comes by its functions; the kernel tells whose a connection is |
//!
//! # AnyEvent::MP
//!
//! The functions have their names; [`node`](crate::node) begins with three programs of its manual. On the whole:
//!
//! - `snd` never runs a handler before it returns, and what is sent is copied, also inside a node. `rcv` counts at
//!   once.
//! - A node that is not there is told at once, as soon as the switch has said so; what was sent to it is gone, and
//!   not kept for it. While a node has no connection to the switch, no other node is there for it.
//! - A panic in a callback stops nothing else.
//!
//! | theirs | here | what differs |
//! | --- | --- | --- |
//! | `configure profile, key => value…` | [`Node::configure`](crate::node::Node::configure), [`Node::connect`](crate::node::Node::connect) | the [page of profiles](crate::profile) tells |
//! | … `norc`, `force` | [`Configure::profiles`](crate::profile::Configure::profiles), [`Configure::force`](crate::profile::Configure::force) | |
//! | … `nodeid`, `anon/`, `%n`, `%u` | [`Configure::node_id`](crate::profile::Configure::node_id) | `%u` is unique at all switches, too; `anon/` is `anon/%u` |
//! | … `seeds` | `address` of a profile, [`Configure::address`](crate::profile::Configure::address) | a node is at one switch at a time |
//! | … `binds` | `telexd --listen` | nodes do not listen; a [`Service`](crate::service::Service) does |
//! | … `services` | [`Configure::services`](crate::profile::Configure::services) | names of functions that the program [offers](crate::profile::Configure::offer), or lists of a name and arguments. A function is handed a port of its own before them. None is loaded from a module, so that there is no `Module::`. One that fails is the error |
//! | … `secret`, `cert` | *not yet* | over Unix sockets the kernel says whose a connection is |
//! | `NODE`, `$NODE` | [`Node::id`](crate::node::Node::id) | a process may have many nodes |
//! | `node_of` | [`node_of`](crate::node::node_of()) | |
//! | `port_is_local` | `node_of(port) == node.id()` | |
//! | `$SELF`, `*SELF`, `%SELF`, `@SELF` | none: the [`Port`](crate::node::Port) that a handler is handed | a value in place of a global variable |
//! | `port`, `port { … }` | [`Node::port`](crate::node::Node::port), [`Port::rcv_default`](crate::node::Port::rcv_default) | |
//! | `rcv port, callback` | [`Port::rcv_default`](crate::node::Port::rcv_default) | |
//! | `rcv port, tag => callback`, `rcv port, tag` | [`Port::rcv`](crate::node::Port::rcv), [`Port::unrcv`](crate::node::Port::unrcv) | |
//! | `snd` | [`Node::snd`](crate::node::Node::snd) | JSON alone |
//! | `psub`, `peval` | none: [`Port::after`](crate::node::Port::after) | handlers and timers run for their port anyway. What comes from elsewhere does by a timer without delay: its panic kills the port |
//! | `after seconds, callback`, `after seconds, message` | [`Node::after`](crate::node::Node::after), [`Port::after`](crate::node::Port::after) | a message is a callback that sends it |
//! | `mon port, callback` | [`Mon::call`](crate::node::Mon::call) | a [`Down`](crate::node::Down) tells what happened; its [`reason`](crate::node::Down::reason) is the list |
//! | `mon port, otherport`; `mon port` | [`Mon::kill`](crate::node::Mon::kill); [`Port::link`](crate::node::Port::link) | |
//! | `mon port, otherport, message` | [`Mon::send`](crate::node::Mon::send) | |
//! | the guard of `mon` | [`Monitor::guard`](crate::node::Monitor::guard), [`Monitor::end`](crate::node::Monitor::end) | what acts on a port ends with that port |
//! | `mon_guard port, refs` | none | move what is to live so long into a handler of the port, or into the closure of [`Mon::call`](crate::node::Mon::call) |
//! | `kil port`, `kil port, reason` | [`Node::kil`](crate::node::Node::kil), [`Node::kil_with`](crate::node::Node::kil_with) | |
//! | `spawn` | [`Node::spawn`](crate::node::Node::spawn) | takes the name of a function that the other node [offers](crate::node::Node::offer), not of any. What it failed of is told to every monitor, then or later |
//! | `cal` | [`Node::cal`](crate::node::Node::cal) | needs a time-out, calls back once, and tells in a [`CalError`](crate::node::CalError) what went wrong. The port of the answer is not lent out |
//! | `known_nodes`, `node_is_known` | [`Node::known_nodes`](crate::node::Node::known_nodes) | all that are registered at the switch, made with this library or not |
//! | `up_nodes`, `node_is_up` | [`Node::up_nodes`](crate::node::Node::up_nodes), [`Node::node_is_up`](crate::node::Node::node_is_up) | this node is among them; one that is not known is not up |
//! | `mon_nodes` | [`Node::mon_nodes`](crate::node::Node::mon_nodes) | tells first of all that are there, so that none is missed in between |
//! | `grp_reg` and its guard | [`Node::grp_reg`](crate::node::Node::grp_reg), [`Node::grp_unreg`](crate::node::Node::grp_unreg) | twice is no error |
//! | `grp_get` | [`Node::grp_get`](crate::node::Node::grp_get) | an empty list in place of undef |
//! | `grp_mon` | [`Node::grp_mon`](crate::node::Node::grp_mon) | tells an empty group, too |
//! | `db_reg family => port` | [`Node::grp_reg`](crate::node::Node::grp_reg) | a family of ports is a group; members have no values |
//! | `db_set`, `db_del`, `db_family`, `db_keys`, `db_values`, `db_mon` | none | a database needs one owner: make it a port that is asked and publishes its changes to a [topic](crate::client::Handle::publish). What describes a node is its `meta` in [`Register`](crate::client::Register) |
//! | `Kernel::snd_to_func`, `snd_on`, `eval_on` and a node's own messages (`eval`, `time`, `devnull`, …) | none | evaluation of what comes over the wire is a hole; [`Node::offer`](crate::node::Node::offer) names what others may run |
//! | `Kernel::$WARN`, `@WARN`, `$WARNLEVEL`, `PERL_ANYEVENT_MP_WARNLEVEL` | none | the library prints nothing: errors are values, [`Handle::changes`](crate::client::Handle::changes) tells what becomes of the connection |
//! | `PERL_ANYEVENT_MP_TRACE` | `telex tap`, `telex log-level debug` | administrators see all messages, and take none from their receivers |
//! | `DataConn::connect_to` | none; [`Handle::dial`](crate::client::Handle::dial) | big or binary data goes over a socket of the program's own, whose address is in its `endpoints` |
//! | `LogCatcher::catch` | the plugins `log-file`, `log-syslog`, `log-journal` | the log of the switch. Programs publish theirs to a [topic](crate::client::Handle::publish), to which any number subscribe |
//! | `Transport` (its protocol, hooks, greetings) | [section 15 of the protocol](crate::protocol#15-ports) | |
//!
//! ## aemp
//!
//! Each word of the command, and the verb of `telex` that does it. A profile is edited by `telex profile`; what `aemp`
//! had as global settings stands in the profile `global`.
//!
//! | theirs | here | what differs |
//! | --- | --- | --- |
//! | `snd PORT …` | `telex snd PORT …` | a port or node that is not there is told, with the status 3 |
//! | `cal PORT …` (`rpc` before) | `telex cal PORT …`; `telex call` for nodes | why there is no answer is told apart |
//! | `mon PORT` | `telex mon PORT`; `telex monitor` for nodes | the status says whether it ended normally; there are `telex kil` and `telex spawn`, too |
//! | `eval` | none | see `eval_on` above |
//! | `shell` | `telex shell` | |
//! | `trace NODE` | `telex tap --to NODE`, `telex explain` | there is one switch, not a mesh to be traced |
//! | `run PROFILE KEY VALUE…` | `telex run PROFILE KEY VALUE…` | becomes the daemon; programs have their own command |
//! | `restart` | none | `systemctl restart telexd`, or `telex reload`, which loses no connection |
//! | `profile NAME …` | `telex profile NAME …` | |
//! | `setnodeid` `delnodeid` | `telex profile NAME set node_id`, `telex profile NAME del node_id` | |
//! | `setseeds` `delseeds` `addseed` `delseed` | `telex profile NAME set address`, and so on with `add` and `del` | a node is at one switch at a time |
//! | `setservices` `delservices` `addservice` `delservice` | `telex profile NAME set services`, and so on with `add` and `del` | functions that the program offers; one with arguments is `'[["NAME", ARGUMENT…]]'` |
//! | `setparent` `delparent` | `telex parent NAME PARENT`, `telex profile NAME del parent` | a circle is refused |
//! | `delprofile` | `telex profile NAME del` | |
//! | `showprofile` | `telex profile NAME show` | |
//! | `showconfig NAME KEY VALUE…` | `telex showconfig NAME KEY VALUE…` | tells where each value comes from; `telex config` does of the daemon's |
//! | `setbinds` `delbinds` `addbind` `delbind` | none: `listen` in `etc/telexd.toml`, or `telex run PROFILE listen ADDRESS` | nodes do not listen |
//! | `gensecret` `setsecret` `delsecret` `gencert` `setcert` `delcert` | *not yet* | over Unix sockets the kernel says whose a connection is |
