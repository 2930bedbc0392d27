# frozen_string_literal: true

module TaskerCore
  module Worker
    # How long to wait for a server that is away: twice as long each time, a little at random.
    class Backoff
      # Seconds to wait, first and at most.
      FIRST_SECONDS = 0.25
      LAST_SECONDS = 2.0

      # @param random [#rand] for tests
      def initialize(random: Random)
        @random = random
        @failures = 0
      end

      # The server has answered.
      def reset
        @failures = 0
      end

      # @param retry_after [Float, nil] seconds that the server asks to wait
      # @return [Float] seconds to wait
      def next(retry_after = nil)
        delay = [FIRST_SECONDS * (2**[@failures, 10].min), LAST_SECONDS].min
        @failures += 1
        [delay * @random.rand(0.8..1.2), retry_after.to_f].max
      end
    end
  end
end
