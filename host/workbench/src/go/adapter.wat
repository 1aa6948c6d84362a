;; Stands between a module that wants WASI preview 1 and a host that offers
;; none. It grants nothing: no arguments, no environment, no files, a wall clock
;; that stands still, and numbers that are random but always the same. What is
;; printed goes to the host's log, a line at a time.
(module
  (import "env" "memory" (memory 0))
  (import "gnomon:projection/log@0.1.0" "write" (func $log (param i32 i32 i32)))

  (global $badf i32 (i32.const 8))

  ;; The SDK lends it memory for a line that is not whole yet.
  (global $buffer (mut i32) (i32.const 0))
  (global $capacity (mut i32) (i32.const 0))
  (global $used (mut i32) (i32.const 0))
  (global $level (mut i32) (i32.const 2))

  (func (export "gnomon_set_line_buffer") (param $buffer i32) (param $capacity i32)
    (global.set $buffer (local.get $buffer))
    (global.set $capacity (local.get $capacity)))

  ;; How many bytes of this length are whole characters: text that crosses the
  ;; boundary is UTF-8, or the call traps.
  (func $valid (param $at i32) (param $length i32) (result i32)
    (local $begin i32) (local $first i32) (local $count i32) (local $i i32) (local $byte i32)
    (local $character i32)
    (local.set $begin (local.get $at))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $length)))
        (local.set $first (i32.load8_u (local.get $at)))
        (local.set $count
          (i32.add (i32.const 1)
            (i32.add (i32.ge_u (local.get $first) (i32.const 0xc2))
              (i32.add (i32.ge_u (local.get $first) (i32.const 0xe0))
                (i32.ge_u (local.get $first) (i32.const 0xf0))))))
        (br_if $end (i32.gt_u (local.get $count) (local.get $length)))
        (br_if $end (i32.gt_u (local.get $first) (i32.const 0xf4)))
        (if (i32.eq (local.get $count) (i32.const 1))
          (then (br_if $end (i32.ge_u (local.get $first) (i32.const 0x80)))))
        (local.set $character
          (i32.and (local.get $first) (i32.shr_u (i32.const 0xff) (i32.add (local.get $count) (i32.const 1)))))
        (local.set $i (i32.const 1))
        (block $whole
          (loop $more
            (br_if $whole (i32.ge_u (local.get $i) (local.get $count)))
            (local.set $byte (i32.load8_u (i32.add (local.get $at) (local.get $i))))
            (br_if $end (i32.ne (i32.and (local.get $byte) (i32.const 0xc0)) (i32.const 0x80)))
            (local.set $character
              (i32.or (i32.shl (local.get $character) (i32.const 6))
                (i32.and (local.get $byte) (i32.const 0x3f))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $more)))
        (if (i32.eq (local.get $count) (i32.const 3))
          (then
            (br_if $end (i32.lt_u (local.get $character) (i32.const 0x800)))
            (br_if $end (i32.eq (i32.shr_u (local.get $character) (i32.const 11)) (i32.const 27)))))
        (if (i32.eq (local.get $count) (i32.const 4))
          (then
            (br_if $end (i32.lt_u (local.get $character) (i32.const 0x10000)))
            (br_if $end (i32.gt_u (local.get $character) (i32.const 0x10ffff)))))
        (local.set $at (i32.add (local.get $at) (local.get $count)))
        (local.set $length (i32.sub (local.get $length) (local.get $count)))
        (br $next)))
    (i32.sub (local.get $at) (local.get $begin)))

  (func $flush (export "gnomon_flush_lines")
    (local $whole i32)
    (if (i32.eqz (global.get $used)) (then (return)))
    ;; What is no character becomes a question mark.
    (block $done
      (loop $repair
        (local.set $whole (call $valid (global.get $buffer) (global.get $used)))
        (br_if $done (i32.eq (local.get $whole) (global.get $used)))
        (i32.store8 (i32.add (global.get $buffer) (local.get $whole)) (i32.const 63))
        (br $repair)))
    (call $log (global.get $level) (global.get $buffer) (global.get $used))
    (global.set $used (i32.const 0)))

  (func $put (param $byte i32)
    (if (i32.eq (local.get $byte) (i32.const 10)) (then (call $flush) (return)))
    (if (i32.ge_u (global.get $used) (global.get $capacity)) (then (call $flush)))
    (if (i32.eqz (global.get $capacity)) (then (return)))
    (i32.store8 (i32.add (global.get $buffer) (global.get $used)) (local.get $byte))
    (global.set $used (i32.add (global.get $used) (i32.const 1))))

  (func (export "fd_write") (param $fd i32) (param $vectors i32) (param $count i32) (param $written i32)
    (result i32)
    (local $sum i32) (local $at i32) (local $end i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1))
      (then (return (global.get $badf))))
    ;; Standard error as warnings.
    (if (i32.ne (global.get $level) (i32.add (local.get $fd) (i32.const 1)))
      (then
        (call $flush)
        (global.set $level (i32.add (local.get $fd) (i32.const 1)))))
    (block $done
      (loop $vector
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $at (i32.load (local.get $vectors)))
        (local.set $end (i32.add (local.get $at) (i32.load offset=4 (local.get $vectors))))
        (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $vectors))))
        (block $all
          (loop $byte
            (br_if $all (i32.ge_u (local.get $at) (local.get $end)))
            (call $put (i32.load8_u (local.get $at)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $byte)))
        (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $vector)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  (func (export "proc_exit") (param i32) (call $flush) (unreachable))
  (func (export "sched_yield") (result i32) (i32.const 0))

  (func $nothing (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func (export "args_sizes_get") (param i32 i32) (result i32) (call $nothing (local.get 0) (local.get 1)))
  (func (export "environ_sizes_get") (param i32 i32) (result i32) (call $nothing (local.get 0) (local.get 1)))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; The wall clock stands still. The monotonic one moves by a microsecond each
  ;; time it is read, as a scheduler that waits for it would wait for ever.
  (global $monotonic (mut i64) (i64.const 0))
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $time i32) (result i32)
    (i64.store (local.get $time) (i64.const 0))
    (if (local.get $clock)
      (then
        (global.set $monotonic (i64.add (global.get $monotonic) (i64.const 1000)))
        (i64.store (local.get $time) (global.get $monotonic))))
    (i32.const 0))

  ;; xorshift, from the same seed in every instance.
  (global $random (mut i64) (i64.const 88172645463325252))
  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (block $done
      (loop $byte
        (br_if $done (i32.eqz (local.get $length)))
        (global.set $random (i64.xor (global.get $random) (i64.shl (global.get $random) (i64.const 13))))
        (global.set $random (i64.xor (global.get $random) (i64.shr_u (global.get $random) (i64.const 7))))
        (global.set $random (i64.xor (global.get $random) (i64.shl (global.get $random) (i64.const 17))))
        (i32.store8 (local.get $at) (i32.wrap_i64 (global.get $random)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $byte)))
    (i32.const 0))

  ;; Nobody can wait here, so all that is waited for happens at once, and the
  ;; monotonic clock leaps to it. A subscription has 48 bytes: its own number, at
  ;; 8 its kind (0 is a clock), at 24 the time, at 40 whether that is absolute.
  ;; An event has 32: the number, an error, and at 10 the kind.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32)
    (result i32)
    (local $time i64)
    (i32.store (local.get $events) (local.get $count))
    (block $done
      (loop $subscription
        (br_if $done (i32.eqz (local.get $count)))
        (i64.store (local.get $out) (i64.load (local.get $in)))
        (i64.store offset=8 (local.get $out) (i64.const 0))
        (i64.store offset=16 (local.get $out) (i64.const 0))
        (i64.store offset=24 (local.get $out) (i64.const 0))
        (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
        (if (i32.eqz (i32.load8_u offset=8 (local.get $in)))
          (then
            (local.set $time (i64.load offset=24 (local.get $in)))
            (if (i32.eqz (i32.and (i32.load16_u offset=40 (local.get $in)) (i32.const 1)))
              (then (local.set $time (i64.add (local.get $time) (global.get $monotonic)))))
            (if (i64.gt_u (local.get $time) (global.get $monotonic))
              (then (global.set $monotonic (local.get $time)))))
          (else (i32.store16 offset=8 (local.get $out) (global.get $badf))))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $subscription)))
    (i32.const 0))

  (func (export "fd_close") (param i32) (result i32) (global.get $badf))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (global.get $badf))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (global.get $badf))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (global.get $badf))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (global.get $badf))
)
