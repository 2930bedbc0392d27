# frozen_string_literal: true

require 'singleton'
require 'tasker_core/logger'

module TaskerCore
  module Worker
    # Hands domain events to subscribers in this process, on a thread of its own, in the order of their publication.
    #
    # A pattern is +*+, a prefix such as +payment.*+, or a whole name.
    class InProcessDomainEventPoller
      include Singleton

      Subscription = Struct.new(:pattern, :block)
      private_constant :Subscription

      def initialize
        @lock = Mutex.new
        @subscriptions = []
        @queue = nil
        @thread = nil
        @counts = { published: 0, delivered: 0, failed: 0 }
      end

      # @param pattern [String] which events; all by default
      # @yield [event] each event, a Hash with Symbol keys
      # @return [Object] for {#unsubscribe}
      def subscribe(pattern = '*', &block)
        raise ArgumentError, 'subscribe needs a block' if block.nil?

        subscription = Subscription.new(pattern.to_s, block)
        @lock.synchronize { @subscriptions += [subscription] }
        subscription
      end

      # @param subscription [Object] what {#subscribe} returned, or a pattern, which ends all its subscriptions
      def unsubscribe(subscription)
        @lock.synchronize do
          @subscriptions = @subscriptions.reject { |each| each.equal?(subscription) || each.pattern == subscription }
        end
      end

      # Forgets all subscribers.
      def clear_subscriptions!
        @lock.synchronize { @subscriptions = [] }
      end

      # @return [Integer] how many subscriptions there are
      def subscriber_count = @subscriptions.size

      # Begins to hand events on. Does nothing if it does so already.
      def start!
        @lock.synchronize do
          next if active?

          queue = @queue = Thread::Queue.new
          @thread = Thread.new { deliver_all(queue) }
          @thread.name = 'tasker-domain-events'
        end
        self
      end

      # Hands on what was published, and then nothing more.
      def stop!
        thread = @lock.synchronize do
          @queue&.close
          @thread
        end
        thread&.join unless thread == Thread.current
        self
      end

      # @return [Boolean] whether events are handed on
      def active? = !@thread.nil? && @thread.alive? && !@queue.closed?

      # Hands an event on; it is dropped while this is not active.
      # @param event [Hash] an event, with +:event_name+
      # @return [Boolean] whether it was taken
      def publish(event)
        @lock.synchronize do
          next false unless active?

          @counts[:published] += 1
          @queue << event
          true
        end
      end

      # @return [Hash] +:active+, +:subscribers+, and how many events were +:published+, +:delivered+ and +:failed+
      def stats
        @lock.synchronize { { active: active?, subscribers: @subscriptions.size, **@counts } }
      end

      # @return [Boolean] whether a pattern means an event of this name
      def self.matches?(pattern, name)
        return true if pattern == '*'

        pattern.end_with?('.*') ? name.start_with?(pattern.delete_suffix('*')) : pattern == name
      end

      private

      def deliver_all(queue)
        while (event = queue.pop)
          name = event[:event_name].to_s
          @subscriptions.each { |each| deliver(each, event) if self.class.matches?(each.pattern, name) }
        end
      end

      def deliver(subscription, event)
        subscription.block.call(event)
        count(:delivered)
      rescue StandardError => e
        count(:failed)
        Logger.instance.error('domain_event_failed', logger: 'tasker.events', about: event[:event_name],
                                                     pattern: subscription.pattern, reason: "#{e.class}: #{e.message}")
      end

      def count(what)
        @lock.synchronize { @counts[what] += 1 }
      end
    end
  end
end
