;; A guest on strings: it makes the calls that its first event tells it to make.
;;
;; The event's bytes are the length of an image, the image, and the calls. The
;; image is copied to a place that whoever makes the calls knows. A call is nine
;; words: which one, which of its arguments are addresses of words that are to
;; be passed instead, and seven arguments.
(module
  (import "gnomon:projection/read-model@0.1.0" "[constructor]table"
    (func $open (param i32 i32) (result i32)))
  (import "gnomon:projection/read-model@0.1.0" "[resource-drop]table"
    (func $drop (param i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.get"
    (func $get (param i32 i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.get-many"
    (func $get-many (param i32 i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.find"
    (func $find (param i32 i32 i32 i32 i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.put"
    (func $put (param i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.patch"
    (func $patch (param i32 i32 i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.merge"
    (func $merge (param i32 i32 i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.remove"
    (func $remove (param i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.patch-where"
    (func $patch-where (param i32 i32 i32 i32 i32 i32 i32)))
  (import "gnomon:projection/read-model@0.1.0" "[method]table.remove-where"
    (func $remove-where (param i32 i32 i32 i32 i32)))
  (import "gnomon:projection/log@0.1.0" "write"
    (func $log (param i32 i32 i32)))

  ;; The image is at 4096, the description at 65536, the heap from 131072 on.
  (memory (export "memory") 16)
  (data (i32.const 65536) "DESCRIPTION")
  (global $heap (mut i32) (i32.const 131072))

  ;; What is wrong with `cabi_realloc`: 0 is nothing.
  (global $fault (mut i32) (i32.const 0))
  ;; How often it was called, as one who is told of all events can see.
  (global $allocations (mut i32) (i32.const 0))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32)
      (param $size i32) (result i32)
    (local $block i32)
    (global.set $allocations (i32.add (global.get $allocations) (i32.const 1)))
    (if (i32.eq (global.get $fault) (i32.const 1)) (then (return (i32.const 0xfffffff0))))
    (if (i32.eq (global.get $fault) (i32.const 2)) (then (return (i32.const 131073))))
    (if (i32.eq (global.get $fault) (i32.const 3))
      (then (call $log (i32.const 2) (i32.const 4096) (i32.const 0))))
    (if (i32.eq (global.get $fault) (i32.const 4)) (then unreachable))
    (if (i32.eq (global.get $fault) (i32.const 5))
      (then (call $drop (i32.const 1))))
    (local.set $block
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $block) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow
        (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $block))

  ;; BEGIN TEXTS
  (func (export "gnomon_allocate_texts") (param $event i32) (param $count i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (i32.store offset=8 (local.get $event) (call $realloc
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.load offset=12 (local.get $event))))
        (i32.store offset=16 (local.get $event) (call $realloc
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.load offset=20 (local.get $event))))
        (i32.store offset=24 (local.get $event) (call $realloc
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.load offset=28 (local.get $event))))
        (i32.store offset=48 (local.get $event) (call $realloc
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.load offset=52 (local.get $event))))
        (i32.store offset=56 (local.get $event) (call $realloc
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.load offset=60 (local.get $event))))
        (local.set $event (i32.add (local.get $event) (i32.const 72)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))
  ;; END TEXTS

  (func (export "describe") (result i32) (i32.const 65536))

  (func $argument (param $call i32) (param $place i32) (result i32)
    (local $given i32)
    (local.set $given
      (i32.load offset=8 (i32.add (local.get $call) (i32.shl (local.get $place) (i32.const 2)))))
    (if (i32.and (i32.shr_u (i32.load offset=4 (local.get $call)) (local.get $place)) (i32.const 1))
      (then (return (i32.load (local.get $given)))))
    (local.get $given))

  (func (export "apply") (param $events i32) (param $count i32) (result i32)
    (local $call i32) (local $end i32) (local $verb i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32)
    (local $e i32) (local $f i32) (local $g i32)
    (local.set $call (i32.load offset=48 (local.get $events)))
    (local.set $end (i32.add (local.get $call) (i32.load offset=52 (local.get $events))))
    (memory.copy (i32.const 4096)
      (i32.add (local.get $call) (i32.const 4))
      (i32.load (local.get $call)))
    (local.set $call
      (i32.add (i32.add (local.get $call) (i32.const 4)) (i32.load (local.get $call))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $call) (local.get $end)))
        (local.set $verb (i32.load (local.get $call)))
        (local.set $a (call $argument (local.get $call) (i32.const 0)))
        (local.set $b (call $argument (local.get $call) (i32.const 1)))
        (local.set $c (call $argument (local.get $call) (i32.const 2)))
        (local.set $d (call $argument (local.get $call) (i32.const 3)))
        (local.set $e (call $argument (local.get $call) (i32.const 4)))
        (local.set $f (call $argument (local.get $call) (i32.const 5)))
        (local.set $g (call $argument (local.get $call) (i32.const 6)))
        (if (i32.eq (local.get $verb) (i32.const 0))
          (then (i32.store (local.get $c) (call $open (local.get $a) (local.get $b)))))
        (if (i32.eq (local.get $verb) (i32.const 1))
          (then (call $drop (local.get $a))))
        (if (i32.eq (local.get $verb) (i32.const 2))
          (then (call $get (local.get $a) (local.get $b) (local.get $c) (local.get $d))))
        (if (i32.eq (local.get $verb) (i32.const 3))
          (then (call $get-many (local.get $a) (local.get $b) (local.get $c) (local.get $d))))
        (if (i32.eq (local.get $verb) (i32.const 4))
          (then (call $find (local.get $a) (local.get $b) (local.get $c) (local.get $d)
            (local.get $e) (local.get $f) (local.get $g))))
        (if (i32.eq (local.get $verb) (i32.const 5))
          (then (call $put (local.get $a) (local.get $b) (local.get $c))))
        (if (i32.eq (local.get $verb) (i32.const 6))
          (then (call $patch (local.get $a) (local.get $b) (local.get $c) (local.get $d)
            (local.get $e))))
        (if (i32.eq (local.get $verb) (i32.const 7))
          (then (call $merge (local.get $a) (local.get $b) (local.get $c) (local.get $d)
            (local.get $e))))
        (if (i32.eq (local.get $verb) (i32.const 8))
          (then (call $remove (local.get $a) (local.get $b) (local.get $c))))
        (if (i32.eq (local.get $verb) (i32.const 9))
          (then (call $patch-where (local.get $a) (local.get $b) (local.get $c) (local.get $d)
            (local.get $e) (local.get $f) (local.get $g))))
        (if (i32.eq (local.get $verb) (i32.const 10))
          (then (call $remove-where (local.get $a) (local.get $b) (local.get $c) (local.get $d)
            (local.get $e))))
        (if (i32.eq (local.get $verb) (i32.const 11))
          (then (call $log (local.get $a) (local.get $b) (local.get $c))))
        ;; Returns with a result that lies there.
        (if (i32.eq (local.get $verb) (i32.const 12))
          (then (return (local.get $a))))
        (if (i32.eq (local.get $verb) (i32.const 13))
          (then (global.set $fault (local.get $a))))
        (if (i32.eq (local.get $verb) (i32.const 14))
          (then (memory.copy (local.get $a) (local.get $b) (local.get $c))))
        ;; Copies the record of an event.
        (if (i32.eq (local.get $verb) (i32.const 15))
          (then (memory.copy (local.get $a)
            (i32.add (local.get $events) (i32.mul (local.get $b) (i32.const 72)))
            (i32.const 72))))
        (if (i32.eq (local.get $verb) (i32.const 16))
          (then (i32.store (local.get $a) (global.get $allocations))))
        (if (i32.eq (local.get $verb) (i32.const 17))
          (then (drop (memory.grow (local.get $a)))))
        (local.set $call (i32.add (local.get $call) (i32.const 36)))
        (br $next)))
    ;; Zeros are a result without a rejection.
    (i32.const 1024))

  ;; It fails if it is told to; otherwise it is known to have been called.
  (func (export "cabi_post_apply") (param $result i32)
    (if (i32.eq (global.get $fault) (i32.const 6)) (then unreachable))
    (if (i32.eq (global.get $fault) (i32.const 7))
      (then (call $log (i32.const 2) (i32.const 4096) (i32.const 0))))))
