# frozen_string_literal: true

require 'set'
require 'tasker_core/worker/attempt'
require 'tasker_core/worker/session'

module TaskerCore
  module Worker
    # Which steps the worker holds and how many more it may take. Pure bookkeeping, without threads, clocks or network;
    # the caller guards it.
    class Attempts
      # @param concurrency [Integer] handlers that run at once
      def initialize(concurrency)
        raise ArgumentError, "concurrency must be at least 1, not #{concurrency}" if concurrency < 1

        @concurrency = concurrency
        @held = {}
        # Outcomes to report, oldest first.
        @ended = []
        # Slots promised to a call under way, so that together they never take too many steps.
        @promised = 0
        # Handlers that were given up but have not returned; each keeps its slot.
        @stuck = 0
        @forgotten_meanwhile = nil
      end

      # @return [Integer] how many more steps may be taken
      def free
        [@concurrency - @held.size - @promised - @stuck, 0].max
      end

      # @return [Integer] how many steps are held
      def size = @held.size

      def empty? = @held.empty?

      # @return [Boolean] whether there are outcomes to report
      def ended? = !@ended.empty?

      # @return [Array] what names the leases that are held
      def keys = @held.keys

      # @return [Array<Attempt>] all that is held
      def all = @held.values

      # Promises slots to a call.
      def promise(slots)
        @promised += slots
      end

      # The call is over: what it brought has been added, or nothing came of it.
      def redeem(slots)
        @promised -= slots
      end

      # @param lease [Hash] a lease
      # @return [Attempt, nil] a new attempt; nil if the lease is held already
      def add(lease, limit:, now:)
        key = Session.key_of(lease)
        return nil if @held.key?(key)

        @held[key] = Attempt.new(lease, key, limit: limit, now: now)
      end

      # Ends an attempt, which is to be reported.
      # @return [Boolean] whether it had not ended before
      def finish(attempt, outcome)
        return false if attempt.ended? || attempt.forgotten?

        attempt.outcome = outcome
        @ended << attempt
        true
      end

      # The handler of an attempt has returned.
      # @return [Boolean] whether its outcome counts
      def returned(attempt, outcome)
        attempt.returned = true
        @stuck -= 1 if attempt.forgotten?
        finish(attempt, outcome)
      end

      # @param most [Integer] most attempts
      # @param most_bytes [Integer] most bytes of JSON that they take together; a single one may take more
      # @return [Array<Attempt>] ended attempts to report together
      def take(most, most_bytes)
        batch = []
        bytes = 0
        while batch.size < most && (attempt = @ended.first)
          bytes += attempt.outcome.json.bytesize
          break if bytes > most_bytes && !batch.empty?

          batch << @ended.shift
        end
        batch
      end

      # Puts attempts back that could not be reported.
      def put_back(batch)
        @ended.unshift(*batch.reject(&:forgotten?))
      end

      # Replaces the outcome of an attempt, which is to be reported anew.
      def replace(attempt, outcome)
        return if attempt.forgotten?

        attempt.outcome = outcome
        @ended << attempt
      end

      # Leases were lost: their handlers are told to stop, and nothing is reported of them.
      # @return [Array<Attempt>] those that had not ended
      def lose(keys)
        lost = keys.map { |key| @held[key] }.compact.reject(&:ended?)
        lost.each { |attempt| attempt.cancelled = true }
        forget(lost)
        lost
      end

      # Everything is lost, ended or not.
      # @return [Array<Attempt>] all that was held
      def lose_all
        lost = all
        lost.each { |attempt| attempt.cancelled = true }
        @ended.clear
        forget(lost)
        lost
      end

      # Attempts are over.
      def forget(attempts)
        attempts.each do |attempt|
          next if attempt.forgotten?

          @held.delete(attempt.key)
          @forgotten_meanwhile&.add(attempt.key)
          attempt.forgotten = true
          @stuck += 1 unless attempt.returned?
        end
      end

      # @return [Array<Attempt>] running attempts whose time is up
      def overdue(now)
        @held.values.select { |attempt| !attempt.ended? && attempt.deadline <= now }
      end

      # @return [Float, nil] when the next one's time is up
      def next_deadline
        @held.each_value.reject(&:ended?).map(&:deadline).min
      end

      # From here on it is noted what is forgotten; see {#unknown}.
      def watch_forgotten
        @forgotten_meanwhile = Set.new
      end

      # @param leases [Array<Hash>] what the server held leased to this worker
      # @return [Array<Hash>] what is not run here, and was not forgotten since {#watch_forgotten} either
      def unknown(leases)
        over = @forgotten_meanwhile || Set.new
        @forgotten_meanwhile = nil
        leases.reject { |lease| (key = Session.key_of(lease)) && (over.include?(key) || @held.key?(key)) }
      end
    end
  end
end
