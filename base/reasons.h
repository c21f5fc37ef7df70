/* Every counted event of the dataplane, by room: the name that metrics and `wwctl dataplane stats` print, and
 * what it means. Append within a room's block; the numbers are not stable across versions, the names are. */
#ifndef BASE_REASONS_H
#define BASE_REASONS_H

#define REASONS(X)                                                                                           \
    /* --- nic --- */                                                                                        \
    X(NIC_RX_FRAMES, "nic_rx_frames", "frames received")                                                     \
    X(NIC_TX_FRAMES, "nic_tx_frames", "frames handed to the device")                                         \
    X(NIC_TX_RETRIED, "nic_tx_retried", "frames kept for the next turn because the device's ring was full")  \
    X(NIC_NO_BUFFER, "nic_no_buffer", "no transmit buffer to be had; output waits for the next turn")        \
    X(NIC_RX_IN_PIECES, "nic_rx_in_pieces", "frame spread over several buffers by the device")               \
    X(NIC_CSUM_WRONG, "nic_csum_wrong",                                                                      \
      "wrong checksums that the device called right; from the first one on software checks all")             \
    /* --- worker: turns of its loop that had work, by how long they took --- */                             \
    X(TURN_4_US, "turn_4_us", "turns with work that took less than 4 microseconds")                          \
    X(TURN_16_US, "turn_16_us", "... 4 to 16")                                                               \
    X(TURN_64_US, "turn_64_us", "... 16 to 64")                                                              \
    X(TURN_256_US, "turn_256_us", "... 64 to 256")                                                           \
    X(TURN_1_MS, "turn_1_ms", "... 256 to 1024")                                                             \
    X(TURN_4_MS, "turn_4_ms", "... 1 to 4 milliseconds")                                                     \
    X(TURN_16_MS, "turn_16_ms", "... 4 to 16 milliseconds")                                                  \
    X(TURN_LONGER, "turn_longer", "... 16 milliseconds and more")                                            \
    /* --- net: link and IP --- */                                                                           \
    X(ETH_RUNT, "eth_runt", "frame shorter than its Ethernet header")                                        \
    X(ETH_NOT_OURS, "eth_not_ours", "destination MAC is neither ours nor a group we listen to")              \
    X(ETH_UNKNOWN_TYPE, "eth_unknown_type", "EtherType is none of ARP, IPv4, IPv6")                          \
    X(ETH_OVERSIZE, "eth_oversize", "frame longer than the MTU and its Ethernet header")                     \
    X(ETH_BAD_SOURCE, "eth_bad_source", "source MAC is a group, zero or our own")                            \
    X(ETH_VLAN, "eth_vlan", "frame of another VLAN, or without the tag that ours has")                       \
    X(ARP_TRUNCATED, "arp_truncated", "shorter than an ARP packet for Ethernet and IPv4")                    \
    X(ARP_BAD_FORMAT, "arp_bad_format",                                                                      \
      "hardware, protocol, lengths or operation other than Ethernet, IPv4, 6, 4, request or reply")          \
    X(ARP_BAD_SENDER, "arp_bad_sender", "sender MAC or sender address that no host can have")                \
    X(ARP_NOT_OURS, "arp_not_ours",                                                                          \
      "request for an address that is not ours, or reply sent to another host")                              \
    X(ARP_ANSWERED, "arp_answered", "requests for an address of ours, answered")                             \
    X(ARP_CONFLICT, "arp_conflict", "another MAC claims an IPv4 address of ours")                            \
    X(NEIGHBOUR_RESOLVED, "neighbour_resolved",                                                              \
      "next hops whose MAC was learnt or confirmed by an answer to our question")                            \
    X(NEIGHBOUR_CHANGED, "neighbour_changed", "next hops that answered with another MAC than before")        \
    X(NEIGHBOUR_UNSOLICITED, "neighbour_unsolicited",                                                        \
      "answers to a question that we did not ask, and claims about our neighbours; nothing was learnt")      \
    X(NEIGHBOUR_CLAIMED, "neighbour_claimed",                                                                \
      "unsolicited claims of another MAC for a neighbour; it was asked again")                               \
    X(NEIGHBOUR_FAILED, "neighbour_failed", "next hops that answered none of our questions")                 \
    X(NEIGHBOUR_FULL, "neighbour_full", "no room for another neighbour that is being resolved")              \
    X(NDP_HOP_LIMIT, "ndp_hop_limit",                                                                        \
      "neighbour discovery with a hop limit other than 255: it came through a router")                       \
    X(NDP_BAD_LENGTH, "ndp_bad_length", "neighbour discovery message shorter than its type demands")         \
    X(NDP_BAD_CODE, "ndp_bad_code", "neighbour discovery with an ICMPv6 code other than 0")                  \
    X(NDP_BAD_OPTION, "ndp_bad_option",                                                                      \
      "neighbour discovery option of length 0, beyond the message, or with an impossible MAC")               \
    X(NDP_BAD_TARGET, "ndp_bad_target",                                                                      \
      "target that is multicast, or flags and addresses that contradict each other")                         \
    X(NDP_NOT_OURS, "ndp_not_ours", "solicitation of an address that is not ours")                           \
    X(NDP_ANSWERED, "ndp_answered", "solicitations of an address of ours, answered")                         \
    X(NDP_CONFLICT, "ndp_conflict", "another MAC claims an IPv6 address of ours")                            \
    X(NDP_IGNORED, "ndp_ignored",                                                                            \
      "router solicitations, router advertisements and redirects: routes come from the configuration")       \
    X(IP4_TRUNCATED, "ip4_truncated", "IPv4 packet shorter than its header or than its total length")        \
    X(IP4_BAD_VERSION, "ip4_bad_version", "version other than 4 under EtherType IPv4")                       \
    X(IP4_BAD_HEADER_LENGTH, "ip4_bad_header_length",                                                        \
      "header length below 20, or total length below the header")                                            \
    X(IP4_BAD_CHECKSUM, "ip4_bad_checksum", "IPv4 header checksum wrong")                                    \
    X(IP4_BAD_OPTION, "ip4_bad_option", "IPv4 option of length 0 or 1, or beyond the header")                \
    X(IP4_SOURCE_ROUTE, "ip4_source_route", "loose or strict source route")                                  \
    X(IP4_MARTIAN_SOURCE, "ip4_martian_source",                                                              \
      "IPv4 source that no other host can have: zero, loopback, group, broadcast, our own")                  \
    X(IP4_NOT_OURS, "ip4_not_ours", "IPv4 destination is another host's")                                    \
    X(IP4_GROUP, "ip4_group", "IPv4 multicast or broadcast destination")                                     \
    X(IP_LINK_GROUP, "ip_link_group", "packet for one host in a frame for many")                             \
    X(IP6_TRUNCATED, "ip6_truncated", "IPv6 packet shorter than its header or than its payload length")      \
    X(IP6_BAD_VERSION, "ip6_bad_version", "version other than 6 under EtherType IPv6")                       \
    X(IP6_MARTIAN_SOURCE, "ip6_martian_source",                                                              \
      "IPv6 source that no other host can have: group, unspecified, loopback, IPv4-mapped, our own")         \
    X(IP6_NOT_OURS, "ip6_not_ours", "IPv6 destination is neither ours nor a group of ours")                  \
    X(IP6_BAD_EXTENSION, "ip6_bad_extension",                                                                \
      "IPv6 extension header beyond the packet, or an option beyond its header")                             \
    X(IP6_CHAIN_TOO_LONG, "ip6_chain_too_long", "more than 8 IPv6 extension headers")                        \
    X(IP6_ROUTING, "ip6_routing", "IPv6 routing header of type 0, or with segments left")                    \
    X(IP6_BAD_ORDER, "ip6_bad_order", "hop-by-hop options elsewhere than first")                             \
    X(IP6_UNKNOWN_OPTION, "ip6_unknown_option",                                                              \
      "IPv6 option that asks for the packet to be discarded where it is not known")                          \
    X(IP6_NO_NEXT_HEADER, "ip6_no_next_header", "IPv6 packet without an upper layer")                        \
    X(IP_UNKNOWN_PROTO, "ip_unknown_proto", "upper layer that is none of TCP, ICMP, ICMPv6")                 \
    X(IP_TCP_TO_GROUP, "ip_tcp_to_group", "TCP to a multicast address")                                      \
    X(ICMP_TRUNCATED, "icmp_truncated", "ICMP or ICMPv6 message shorter than its header")                    \
    X(ICMP_BAD_CHECKSUM, "icmp_bad_checksum", "ICMP or ICMPv6 checksum wrong")                               \
    X(ICMP_ECHO_ANSWERED, "icmp_echo_answered", "echo requests answered")                                    \
    X(ICMP_ECHO_LIMITED, "icmp_echo_limited", "echo requests above the worker's rate limit, not answered")   \
    X(ICMP_UNKNOWN_TYPE, "icmp_unknown_type", "ICMP or ICMPv6 type that we have no use for")                 \
    X(ICMP_ERROR_RECEIVED, "icmp_error_received", "ICMP errors about a TCP segment of ours, handed to TCP")  \
    X(ICMP_ERROR_BAD_QUOTE, "icmp_error_bad_quote",                                                          \
      "ICMP errors whose quoted packet is truncated, not TCP or not ours")                                   \
    X(ICMP_ERROR_SENT, "icmp_error_sent", "ICMP errors sent")                                                \
    X(ICMP_ERROR_LIMITED, "icmp_error_limited", "ICMP errors above the worker's rate limit, not sent")       \
    X(MLD_REPORTED, "mld_reported", "reports of the IPv6 groups that we listen to")                          \
    X(MLD_BAD_QUERY, "mld_bad_query",                                                                        \
      "group query that is too short or does not come from a router on this link")                           \
    X(ROUTE_NONE, "route_none", "packets without a route to their destination")                              \
    X(REPLY_FULL, "reply_full", "stateless answers dropped because their queue was full")                    \
    X(REPLY_NO_HOP, "reply_no_hop",                                                                          \
      "stateless answers dropped because their next hop is unknown and does not answer")                     \
    X(FRAG_REASSEMBLED, "frag_reassembled", "datagrams put together from fragments")                         \
    X(FRAG_DUPLICATE, "frag_duplicate", "fragments that came twice, the second one dropped")                 \
    X(FRAG_BAD_LENGTH, "frag_bad_length",                                                                    \
      "fragment without data, or not the last one and no multiple of eight bytes long")                      \
    X(FRAG_BEYOND, "frag_beyond", "fragment whose datagram would be longer than 65535 bytes")                \
    X(FRAG_TINY, "frag_tiny", "fragment that splits the headers it must hold whole")                         \
    X(FRAG_TO_GROUP, "frag_to_group", "fragment to a multicast address")                                     \
    X(FRAG_NESTED, "frag_nested", "fragment of a fragment")                                                  \
    X(FRAG_OVERLAP, "frag_overlap",                                                                          \
      "datagrams dropped because their fragments overlap or disagree about the end")                         \
    X(FRAG_DEAD, "frag_dead", "further fragments of a datagram that had been dropped")                       \
    X(FRAG_MIXED_ECN, "frag_mixed_ecn",                                                                      \
      "datagrams dropped because one fragment met congestion and another denies ECN")                        \
    X(FRAG_TOO_MANY, "frag_too_many",                                                                        \
      "datagrams dropped because they came in more than 64 fragments or exceed their source's share")        \
    X(FRAG_EVICTED, "frag_evicted", "datagrams in fragments that gave way to newer ones")                    \
    X(FRAG_TIMEOUT, "frag_timeout", "datagrams of which a fragment was still missing after 30 seconds")      \
    X(ICMP_ECHO_SOURCE_LIMITED, "icmp_echo_source_limited",                                                  \
      "echo requests above the rate limit of their network, not answered")                                   \
    X(ICMP_ERROR_SOURCE_LIMITED, "icmp_error_source_limited",                                                \
      "ICMP errors above the rate limit of the network that they were for, not sent")                        \
    X(NDP_FRAGMENTED, "ndp_fragmented", "neighbour discovery in fragments (RFC 6980)")                       \
    X(ICMP_ECHO_TOO_LONG, "icmp_echo_too_long", "echo requests whose answer would exceed the MTU")           \
    X(STEER_HANDED, "steer_handed", "packets of another worker's connection, handed to that worker")         \
    X(STEER_TAKEN, "steer_taken", "packets taken that another worker had received")                          \
    X(STEER_LOST, "steer_lost",                                                                              \
      "packets for another worker dropped: its lane was full, or they are too long")                         \
    X(STEER_HASH_WRONG, "steer_hash_wrong",                                                                  \
      "flow hashes of the device that are not what was agreed; from the first one on software hashes all")   \
    /* --- net: TCP --- */                                                                                   \
    X(TCP_ACCEPTED, "tcp_accepted", "connections that completed the three-way handshake")                    \
    X(TCP_CONNECTED, "tcp_connected", "connections that we opened")                                          \
    X(TCP_CONNECT_FAILED, "tcp_connect_failed", "... that the peer refused or never answered")               \
    X(TCP_CONNECT_FULL, "tcp_connect_full", "... that found no free record or port")                         \
    X(TCP_SYN_RECEIVED, "tcp_syn_received", "SYNs that began a handshake")                                   \
    X(TCP_HANDSHAKE_TIMEOUT, "tcp_handshake_timeout", "handshakes given up: no ACK after every SYN-ACK")     \
    X(TCP_TABLE_FULL, "tcp_table_full", "SYNs dropped: every connection record is in use")                   \
    X(TCP_ACCEPT_OVERFLOW, "tcp_accept_overflow", "last ACKs dropped: every connection record is in use")    \
    X(TCP_SYN_CACHE_DROPPED, "tcp_syn_cache_dropped", "half-open connections that made room for newer ones") \
    X(TCP_COOKIE_SENT, "tcp_cookie_sent", "SYN-ACKs with a cookie, nothing being remembered")                \
    X(TCP_COOKIE_ACCEPTED, "tcp_cookie_accepted", "handshakes completed by a cookie")                        \
    X(TCP_COOKIE_REJECTED, "tcp_cookie_rejected", "ACKs that were no cookie of ours while some were out")    \
    X(TCP_TIME_WAIT_DROPPED, "tcp_time_wait_dropped",                                                        \
      "connections in TIME-WAIT that made room for newer ones")                                              \
    X(TCP_NO_RECV_BUFFER, "tcp_no_recv_buffer", "data segments dropped: every receive buffer is in use")     \
    X(TCP_NO_SEND_BUFFER, "tcp_no_send_buffer", "sends put off: every send buffer is in use")                \
    X(TCP_RUNT, "tcp_runt", "shorter than a TCP header")                                                     \
    X(TCP_BAD_OFFSET, "tcp_bad_offset", "data offset below 5 words or beyond the segment")                   \
    X(TCP_BAD_CHECKSUM, "tcp_bad_checksum", "wrong TCP checksum")                                            \
    X(TCP_BAD_OPTION, "tcp_bad_option", "an option with a length below 2 or beyond the header")              \
    X(TCP_REFUSED, "tcp_refused", "port 0, MD5 or AO option, or flags that open nothing")                    \
    X(TCP_NO_CONNECTION, "tcp_no_connection", "segments for no connection and no listener")                  \
    X(TCP_RST_SENT, "tcp_rst_sent", "RSTs sent")                                                             \
    X(TCP_RST_SUPPRESSED, "tcp_rst_suppressed", "RSTs not sent: over the worker's rate")                     \
    X(TCP_CHALLENGE_SENT, "tcp_challenge_sent", "ACKs sent to correct a peer (RFC 5961)")                    \
    X(TCP_CHALLENGE_SUPPRESSED, "tcp_challenge_suppressed", "ACKs of that kind not sent: over the rate")     \
    X(TCP_RESET_BY_PEER, "tcp_reset_by_peer", "connections that the peer reset")                             \
    X(TCP_BAD_RST, "tcp_bad_rst", "RSTs outside the window or in TIME-WAIT, ignored")                        \
    X(TCP_UNEXPECTED_SYN, "tcp_unexpected_syn", "SYNs on a connection that has had its own")                 \
    X(TCP_OUT_OF_WINDOW, "tcp_out_of_window", "segments outside the receive window")                         \
    X(TCP_BAD_ACK, "tcp_bad_ack", "acknowledgements of what was never sent or is long gone")                 \
    X(TCP_NO_ACK, "tcp_no_ack", "segments without the ACK flag on a connection")                             \
    X(TCP_NO_TIMESTAMP, "tcp_no_timestamp", "segments without the timestamp that was agreed")                \
    X(TCP_PAWS, "tcp_paws", "segments older than their timestamps allow (RFC 7323 5)")                       \
    X(TCP_OUT_OF_ORDER, "tcp_out_of_order", "segments stored beyond a gap")                                  \
    X(TCP_TOO_MANY_GAPS, "tcp_too_many_gaps", "segments dropped: too many gaps before them")                 \
    X(TCP_DATA_AFTER_CLOSE, "tcp_data_after_close", "connections reset: data came that nobody would read")   \
    X(TCP_CLOSED_UNREAD, "tcp_closed_unread", "connections closed with bytes unread: reset")                 \
    X(TCP_ABORTED, "tcp_aborted", "connections aborted by their user")                                       \
    X(TCP_TIMEOUTS, "tcp_timeouts", "retransmission timeouts")                                               \
    X(TCP_RETRANSMITS, "tcp_retransmits", "segments sent again")                                             \
    X(TCP_FAST_RETRANSMITS, "tcp_fast_retransmits", "losses noticed by three duplicate ACKs")                \
    X(TCP_SACK_RECOVERIES, "tcp_sack_recoveries", "losses noticed by selective acknowledgements")            \
    X(TCP_TAIL_PROBES, "tcp_tail_probes", "probes of a tail that nobody acknowledged (RFC 8985)")            \
    X(TCP_SPURIOUS, "tcp_spurious", "losses that proved to have been none: undone")                          \
    X(TCP_DSACKS, "tcp_dsacks", "segments that the peer reported to have twice")                             \
    X(TCP_BAD_SACK, "tcp_bad_sack", "SACK blocks skipped: not about what is in flight")                      \
    X(TCP_NO_BOARD, "tcp_no_board", "flights sent without a scoreboard: every one is in use")                \
    X(TCP_PROBES, "tcp_probes", "window probes sent")                                                        \
    X(TCP_GIVEN_UP, "tcp_given_up", "connections given up: no answer for 100 s")                             \
    X(TCP_ORPHAN_TIMEOUT, "tcp_orphan_timeout", "closed connections whose peer did not finish in time")      \
    X(TCP_IDLE_CLOSED, "tcp_idle_closed", "connections reset after idle_close_ms without data")              \
    X(TCP_KEEPALIVES, "tcp_keepalives", "questions whether a silent peer is there")                          \
    X(TCP_KEEPALIVE_DEAD, "tcp_keepalive_dead", "connections reset: no such question was answered")          \
    X(TCP_PRESSURE_GAPS, "tcp_pressure_gaps", "data beyond gaps dropped: buffers were short")                \
    X(TCP_PRESSURE_ABORTED, "tcp_pressure_aborted", "slowest connections reset: buffers were short")         \
    X(TCP_NO_HOP, "tcp_no_hop", "segments not sent: no route or no neighbour")                               \
    X(TCP_ICMP_IGNORED, "tcp_icmp_ignored", "ICMP errors that changed nothing")                              \
    X(TCP_BLACK_HOLE, "tcp_black_hole", "full segments that vanished: the connection's became smaller")      \
    X(TCP_MTU_RAISED, "tcp_mtu_raised", "probes that made a connection's segments larger again")             \
    X(TCP_MTU_LOWERED, "tcp_mtu_lowered", "ICMP errors that made a connection's segments smaller")           \
    /* --- tls --- */                                                                                        \
    X(TLS_HANDSHAKE_OK, "tls_handshake_ok", "handshakes completed")                                          \
    X(TLS_HANDSHAKE_NS, "tls_handshake_ns", "nanoseconds of the steps of handshakes, failed ones included")  \
    X(TLS_HANDSHAKE_RESUMED, "tls_handshake_resumed", "handshakes that resumed a session by ticket")         \
    X(TLS_BAD_VERSION, "tls_bad_version", "client offers neither TLS 1.2 nor 1.3")                           \
    X(TLS_NOTHING_SHARED, "tls_nothing_shared", "no cipher suite, group or signature algorithm in common")   \
    X(TLS_NO_APPLICATION_PROTOCOL, "tls_no_application_protocol", "ALPN without http/1.1")                   \
    X(TLS_NOT_TLS, "tls_not_tls", "the first bytes are no TLS record")                                       \
    X(TLS_BAD_RECORD_MAC, "tls_bad_record_mac", "a record or Finished did not authenticate")                 \
    X(TLS_PEER_ALERT, "tls_peer_alert", "the peer ended the connection with a fatal alert")                  \
    X(TLS_PROTOCOL_ERROR, "tls_protocol_error", "any other breach of the TLS protocol")                      \
    X(TLS_HANDSHAKE_TOO_LONG, "tls_handshake_too_long", "more than 32 KB before the handshake was complete") \
    X(TLS_KEY_UPDATE_FLOOD, "tls_key_update_flood", "more KeyUpdates than application data calls for")       \
    X(TLS_JOB_PAUSED, "tls_job_paused", "handshakes that waited for the crypto engine")                      \
    X(TLS_JOB_LIMIT, "tls_job_limit", "handshakes that waited because too many others did")                  \
    X(TLS_JOB_ABANDONED, "tls_job_abandoned", "connections that ended while their handshake was suspended")  \
    X(TLS_NO_MEMORY, "tls_no_memory", "OpenSSL could not allocate for a connection")                         \
    /* --- http --- */                                                                                       \
    X(HTTP_REQUESTS, "http_requests", "requests whose head was parsed")                                      \
    X(HTTP_BAD_REQUEST_LINE, "http_bad_request_line", "request line is not method, target, version")         \
    X(HTTP_BAD_TARGET, "http_bad_target",                                                                    \
      "request target is not in origin-form or holds a byte outside RFC 3986")                               \
    X(HTTP_BAD_VERSION, "http_bad_version", "HTTP version other than 1.0 and 1.1")                           \
    X(HTTP_BARE_LINE_END, "http_bare_line_end", "CR without LF or LF without CR")                            \
    X(HTTP_CONTROL_BYTE, "http_control_byte", "control byte in a request head")                              \
    X(HTTP_OBS_FOLD, "http_obs_fold", "field line that begins with white space")                             \
    X(HTTP_BAD_FIELD_NAME, "http_bad_field_name", "field name is empty or not a token")                      \
    X(HTTP_SPACE_BEFORE_COLON, "http_space_before_colon", "white space between field name and colon")        \
    X(HTTP_BAD_FIELD_VALUE, "http_bad_field_value", "Connection or Expect is not a list of tokens")          \
    X(HTTP_NO_HOST, "http_no_host", "HTTP/1.1 request without Host")                                         \
    X(HTTP_SECOND_HOST, "http_second_host", "more than one Host")                                            \
    X(HTTP_BAD_HOST, "http_bad_host", "Host is empty or no name or address with an optional port")           \
    X(HTTP_BAD_LENGTH, "http_bad_length", "Content-Length is not plain digits")                              \
    X(HTTP_SECOND_LENGTH, "http_second_length", "more than one Content-Length")                              \
    X(HTTP_AMBIGUOUS_LENGTH, "http_ambiguous_length", "Content-Length beside Transfer-Encoding")             \
    X(HTTP_BAD_TRANSFER_ENCODING, "http_bad_transfer_encoding",                                              \
      "Transfer-Encoding twice, malformed, or not ending in chunked")                                        \
    X(HTTP_UNKNOWN_CODING, "http_unknown_coding", "transfer coding other than chunked")                      \
    X(HTTP_CHUNKED_IN_1_0, "http_chunked_in_1_0", "Transfer-Encoding in an HTTP/1.0 request")                \
    X(HTTP_SECOND_AUTHORIZATION, "http_second_authorization", "more than one Authorization")                 \
    X(HTTP_SECOND_CONTENT_TYPE, "http_second_content_type", "more than one Content-Type")                    \
    X(HTTP_BAD_EXPECTATION, "http_bad_expectation", "Expect other than 100-continue")                        \
    X(HTTP_HEAD_TOO_LARGE, "http_head_too_large", "request head over its limit")                             \
    X(HTTP_TOO_MANY_FIELDS, "http_too_many_fields", "more fields than the limit")                            \
    X(HTTP_BODY_TOO_LARGE, "http_body_too_large", "request body over its limit")                             \
    X(HTTP_BAD_CHUNK_SIZE, "http_bad_chunk_size", "chunk size line is malformed")                            \
    X(HTTP_BAD_CHUNK_END, "http_bad_chunk_end", "chunk data not followed by CRLF")                           \
    X(HTTP_CHUNK_LINE_TOO_LONG, "http_chunk_line_too_long", "chunk size lines cost more than their limit")   \
    X(HTTP_BAD_TRAILER, "http_bad_trailer", "trailer line is malformed")                                     \
    X(HTTP_TRAILER_TOO_LONG, "http_trailer_too_long", "trailer section over its limit")                      \
    /* --- conn: one connection's life --- */                                                                \
    X(CONN_HANDSHAKE_CUT, "conn_handshake_cut", "peer closed in the middle of the TLS handshake")            \
    X(CONN_HANDSHAKE_TIMEOUT, "conn_handshake_timeout", "TLS handshake not complete by its deadline")        \
    X(CONN_REQUEST_CUT, "conn_request_cut", "peer closed in the middle of a request")                        \
    X(CONN_REQUEST_TIMEOUT, "conn_request_timeout", "silence inside a request")                              \
    X(CONN_BODY_TOO_SLOW, "conn_body_too_slow", "a large body fell below its minimum rate")                  \
    X(CONN_REPLY_STALLED, "conn_reply_stalled", "peer stopped reading its reply")                            \
    X(CONN_NO_RECORD, "conn_no_record", "no connection record or TLS identity: connection reset")            \
    X(CONN_NO_SMALL_BUFFER, "conn_no_small_buffer", "no request buffer: connection reset")                   \
    X(CONN_NO_LARGE_BUFFER, "conn_no_large_buffer", "no buffer for a large body: 503")                       \
    /* --- worker --- */                                                                                     \
    X(WORKER_BUSY_NS, "worker_busy_ns",                                                                      \
      "nanoseconds of turns that had work, each from its start to the start of the next")                    \
    X(WORKER_BUSY_TURNS, "worker_busy_turns", "turns that had work")                                         \
    /* --- auth --- */                                                                                       \
    X(AUTH_VERDICT_CACHE_HIT, "auth_verdict_cache_hit", "tokens answered from the verdict cache")            \
    X(AUTH_TOKEN_VERIFIED, "auth_token_verified", "tokens found good by checking their signature")           \
    X(AUTH_NOT_LOADED, "auth_not_loaded", "request before the first snapshot was in use: 503")               \
    X(AUTH_NO_TOKEN, "auth_no_token", "request without Authorization")                                       \
    X(AUTH_NOT_BEARER, "auth_not_bearer", "Authorization is not Bearer and a token")                         \
    X(AUTH_UNKNOWN_ISSUER, "auth_unknown_issuer", "iss is none of the configured issuers")                   \
    X(AUTH_EXPIRED, "auth_expired", "token has expired")                                                     \
    X(AUTH_NOT_YET_VALID, "auth_not_yet_valid", "nbf or iat lies in the future")                             \
    X(AUTH_LIFETIME, "auth_lifetime", "token lives longer than a day, or ends before it begins")             \
    X(AUTH_WRONG_AUDIENCE, "auth_wrong_audience", "aud is none of the configured audiences")                 \
    X(AUTH_NO_EMAIL, "auth_no_email", "token without an e-mail, or with one that is too long")               \
    X(AUTH_EMAIL_UNVERIFIED, "auth_email_unverified", "email_verified is not true")                          \
    X(AUTH_UNKNOWN_KID, "auth_unknown_kid", "kid is not in the issuer's fresh JWKS")                         \
    X(AUTH_JWKS_STALE, "auth_jwks_stale", "kid is not in the issuer's JWKS, which is too old to judge: 503") \
    X(AUTH_WRONG_ALG, "auth_wrong_alg", "alg is not that of the key")                                        \
    X(AUTH_BAD_SIGNATURE, "auth_bad_signature", "signature does not verify")                                 \
    X(JWT_TOO_LONG, "jwt_too_long", "token longer than its limit")                                           \
    X(JWT_NOT_THREE_PARTS, "jwt_not_three_parts", "token is not header.payload.signature")                   \
    X(JWT_BAD_BASE64, "jwt_bad_base64", "a part of the token is not canonical unpadded base64url")           \
    X(JWT_BAD_HEADER, "jwt_bad_header", "token header is not a sound JSON object")                           \
    X(JWT_ALG_REFUSED, "jwt_alg_refused", "alg is missing or neither RS256 nor ES256")                       \
    X(JWT_PARAMETER_REFUSED, "jwt_parameter_refused",                                                        \
      "header parameter that would change how the token is read or where its key comes from")                \
    X(JWT_TYP_REFUSED, "jwt_typ_refused", "typ other than JWT")                                              \
    X(JWT_BAD_KID, "jwt_bad_kid", "kid is missing, empty, too long or not a string")                         \
    X(JWT_BAD_CLAIMS, "jwt_bad_claims", "token payload is not a sound JSON object")                          \
    X(JWT_BAD_CLAIM, "jwt_bad_claim", "iss, sub, email or email_verified has a wrong type or length")        \
    X(JWT_BAD_AUD, "jwt_bad_aud", "aud is not one string")                                                   \
    X(JWT_BAD_TIME, "jwt_bad_time", "exp, iat or nbf is not a whole number of seconds")                      \
    X(JWT_CLAIM_MISSING, "jwt_claim_missing", "iss, aud or exp is missing")                                  \
    /* --- ekm --- */                                                                                        \
    X(EKM_WRAP_OK, "ekm_wrap_ok", "wraps answered 200")                                                      \
    X(EKM_UNWRAP_OK, "ekm_unwrap_ok", "unwraps answered 200")                                                \
    X(EKM_NO_ROUTE, "ekm_no_route", "path with a query, without a verb, or with one that is not known: 404") \
    X(EKM_NOT_POST, "ekm_not_post", "method other than POST on a verb: 405")                                 \
    X(EKM_UNIMPLEMENTED, "ekm_unimplemented", "verb of the API that is not implemented: 501")                \
    X(EKM_UNKNOWN_KEY, "ekm_unknown_key", "no key on this path: 404")                                        \
    X(EKM_KEY_GONE, "ekm_key_gone", "key destroyed or about to be: 404")                                     \
    X(EKM_CALLER_DENIED, "ekm_caller_denied", "caller is not on the key's list")                             \
    X(EKM_KEY_DISABLED, "ekm_key_disabled", "key is disabled or pending: 400")                               \
    X(EKM_BAD_CONTENT_TYPE, "ekm_bad_content_type", "Content-Type other than application/json: 400")         \
    X(EKM_BAD_BODY, "ekm_bad_body", "body or a field of it is malformed or over its limit: 400")             \
    X(EKM_OTHER_KEY_PATH, "ekm_other_key_path", "body names another key than the URL: 400")                  \
    X(EKM_REASON_DENIED, "ekm_reason_denied", "access reason is not allowed on the key")                     \
    X(EKM_NO_VERSION, "ekm_no_version", "key has no version that may wrap: 400")                             \
    X(EKM_VERSION_DISABLED, "ekm_version_disabled", "blob is of a disabled version: 400")                    \
    X(EKM_VERSION_GONE, "ekm_version_gone", "blob is of a destroyed version: 404")                           \
    X(EKM_BAD_BLOB, "ekm_bad_blob", "blob does not open: 400")                                               \
    X(EKM_FAULT, "ekm_fault", "the operation failed by our own fault: 503")                                  \
    /* --- keys --- */                                                                                       \
    X(KEYS_VERIFY_AFTER_WRAP_FAILED, "keys_verify_after_wrap_failed",                                        \
      "a fresh blob did not unwrap: no reply left")                                                          \
    X(KEYS_CIPHER_FAILED, "keys_cipher_failed", "the cipher library failed: no reply left")                  \
    X(KEYS_CONTEXT_MISS, "keys_context_miss", "key contexts made because the worker's cache had none")       \
    X(KEYS_CONTEXT_FLUSHED, "keys_context_flushed", "key contexts wiped because a new epoch was published")  \
    /* --- audit --- */                                                                                      \
    X(AUDIT_LOST, "audit_lost", "audit records dropped because the ring was full")                           \
    X(AUDIT_BAD_TAIL, "audit_bad_tail", "audit records dropped because the ring's tail cannot be")           \
    /* --- ctl --- */                                                                                        \
    X(CTL_EPOCHS_APPLIED, "ctl_epochs_applied", "snapshots and deltas applied")                              \
    X(CTL_REFUSED, "ctl_refused", "snapshots and deltas refused: the tables stayed as they were")            \
    X(CTL_BAD_MESSAGE, "ctl_bad_message", "ctl connections ended because a message did not parse")           \
    X(WARM_WRITTEN, "warm_written", "warm snapshots written")                                                \
    X(WARM_WRITE_FAILED, "warm_write_failed", "warm snapshots or floors that could not be written")          \
    X(WARM_STARTED, "warm_started", "starts from a warm snapshot")                                           \
    X(WARM_REFUSED, "warm_refused", "warm snapshots that were absent or refused")

enum reason {
#define X(id, name, text) REASON_##id,
    REASONS(X)
#undef X
        REASON_COUNT
};

/* The metric name, and one sentence; r must be below REASON_COUNT. */
const char *reason_name(enum reason r);
const char *reason_text(enum reason r);

#endif
