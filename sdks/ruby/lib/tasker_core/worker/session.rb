# frozen_string_literal: true

require 'json'
require 'socket'
require 'tasker_core/client/connection'
require 'tasker_core/logger'
require 'tasker_core/version'
require 'tasker_core/worker/answers'
require 'tasker_core/worker/errors'

module TaskerCore
  module Worker
    # A worker's registration with a server, and the calls of the worker protocol.
    #
    # Any thread may make any call, but for +lease+ and +heartbeat+: each has one thread of its own, and may be
    # interrupted by others.
    class Session
      # Seconds that a lease call waits for work; shorter than most proxies wait for an answer.
      LEASE_WAIT_SECONDS = 20.0

      # Seconds until a call counts as failed, beyond the time that it asks the server to wait.
      CALL_SECONDS = 15.0

      # Seconds for saying goodbye.
      DEREGISTER_SECONDS = 5.0

      # Most leases that may be asked for at once.
      MOST_LEASES = 1_000

      # How the SDK calls itself.
      SDK = "ruby/#{VERSION}".freeze

      # @return [String, nil] the id that the server gave
      attr_reader :worker_id

      # @return [String] the worker's name in the history
      attr_reader :name

      # @return [#call, nil] called when everything that was held is lost, since the server forgot the worker
      attr_accessor :on_forgotten

      # @param url [String] the server's base URL
      # @param name [String] the worker's name in the history
      # @param concurrency [Integer] steps that it runs at once, for display
      # @param credentials [Hash] headers that carry the credentials
      def initialize(url, name:, concurrency:, credentials: {})
        @url = url
        @headers = { 'User-Agent' => SDK }.merge(credentials)
        @name = name
        @concurrency = concurrency
        @registering = Mutex.new
        @answer = {}
        @leasing = new_connection
        @beating = new_connection
        @idle = []
        @idle_lock = Mutex.new
      end

      # @return [Float] how long a lease lasts unless a heartbeat renews it
      def lease_seconds
        (@answer['lease_seconds'] || 30.0).to_f
      end

      # @return [Float] how often leases are to be renewed
      def heartbeat_seconds
        (@answer['heartbeat_seconds'] || (lease_seconds / 3)).to_f
      end

      # Registers the worker, or changes what it takes; it keeps its id and its leases then.
      #
      # @param callables [Array<String>] what it has handlers for
      # @param namespaces [Array<String>, nil] where it takes steps from; nil is everywhere
      def register(callables, namespaces)
        @registering.synchronize do
          @callables = callables
          @namespaces = namespaces
          begin
            register_now(@worker_id)
          rescue Answers::UnknownWorker
            forget
            register_now(nil)
          end
        end
      end

      # @return [Array<Hash>] up to +limit+ leases, as soon as there are any
      # @raise [Client::Connection::InterruptedError] see {#interrupt_lease}
      def lease(limit)
        wait = wait_seconds(LEASE_WAIT_SECONDS)
        body = { limit: [limit, MOST_LEASES].min, wait_seconds: wait }
        call('lease', JSON.generate(body), connection: @leasing, wait: wait)['leases']
      end

      # Lets the next lease call be interrupted.
      def arm_lease
        @leasing.arm
      end

      # Ends the lease call that waits.
      def interrupt_lease
        @leasing.interrupt
      end

      # @param results [Array<String>] results, each encoded
      # @param want [Integer] how many of the steps that they free are wanted
      # @return [Hash] the answer
      def report(results, want)
        call('report', %({"results":[#{results.join(',')}],"lease":#{[want, MOST_LEASES].min}}))
      end

      # @return [Array<Hash>] every lease that the server knows of
      def recover
        call('recover', '{}')['leases']
      end

      # Gives leases back unused.
      # @param keys [Array] pairs of step uuid and lease id
      def release(keys)
        call('release', JSON.generate(leases: names(keys))) unless keys.empty?
      end

      # Renews leases, and waits for losses.
      # @param keys [Array] pairs of step uuid and lease id
      # @return [Hash{String => Array}] +lost+ and +cancelled+ keys
      # @raise [Client::Connection::InterruptedError] see {#interrupt_heartbeat}
      def heartbeat(keys)
        wait = wait_seconds(heartbeat_seconds)
        body = JSON.generate(leases: names(keys), wait_seconds: wait)
        answer = call('heartbeat', body, connection: @beating, wait: wait)
        answer.slice('lost', 'cancelled').transform_values { |found| found.map { |lease| key_of(lease) } }
      end

      # Lets the next heartbeat be interrupted.
      def arm_heartbeat
        @beating.arm
      end

      # Ends the heartbeat that waits.
      def interrupt_heartbeat
        @beating.interrupt
      end

      # @return [Hash, nil] the envelope of a result that a lease left out; nil if it is not there any more
      def result(key, step_name)
        step_uuid, lease_id = key
        body = JSON.generate(step_uuid: step_uuid, lease_id: lease_id, names: [step_name])
        call('results', body)['results'][step_name]
      end

      # @param text [String] a template as YAML
      # @return [Hash] the answer
      def register_template(text)
        answered { |connection| post(connection, '/v1/templates', text, content_type: 'application/yaml') }
      end

      # Says goodbye. Never raises.
      def deregister
        return if @worker_id.nil?

        answered { |connection| post(connection, path('deregister'), '{}', timeout: DEREGISTER_SECONDS) }
      rescue ServerUnavailable, AccessRefused, RequestRefused, Answers::UnknownWorker => e
        Logger.instance.warn('deregistration_failed', logger: 'tasker.worker', reason: e.message)
      ensure
        @worker_id = nil
        close
      end

      # Closes all connections that are not in use.
      def close
        @idle_lock.synchronize { @idle.each(&:close).clear }
      end

      # @return [Array(String, Integer)] what names a lease
      def self.key_of(lease)
        [lease['step_uuid'], lease['lease_id']]
      end

      private

      def key_of(lease) = self.class.key_of(lease)

      def names(keys)
        keys.map { |step_uuid, lease_id| { step_uuid: step_uuid, lease_id: lease_id } }
      end

      def wait_seconds(wanted)
        [wanted, (@answer['max_wait_seconds'] || wanted).to_f].min
      end

      def call(verb, body, connection: nil, wait: 0.0)
        id = registered_id
        timeout = CALL_SECONDS + wait
        return Answers.read(post(connection, path(verb, id), body, timeout: timeout)) if connection

        answered { |borrowed| post(borrowed, path(verb, id), body, timeout: timeout) }
      rescue Answers::UnknownWorker
        register_again(id)
        raise RegisteredAgain
      end

      def registered_id
        @worker_id || @registering.synchronize { @worker_id || register_now(nil) }
      end

      # Another thread may have done so already.
      def register_again(unknown_id)
        @registering.synchronize do
          next unless @worker_id == unknown_id

          forget
          register_now(nil)
        end
      end

      def forget
        @worker_id = nil
        @on_forgotten&.call
      end

      def register_now(id)
        body = {
          callables: @callables, name: @name, namespaces: @namespaces, concurrency: @concurrency, sdk: SDK,
          hostname: Socket.gethostname, pid: Process.pid, lazy_results: true, worker_id: id
        }.compact
        @answer = answered { |connection| post(connection, '/v1/worker/register', JSON.generate(body)) }
        @worker_id = @answer.fetch('worker_id')
        Logger.instance.info('worker_registered', logger: 'tasker.worker', server: @url, worker_id: @worker_id,
                                                  callables: @callables.size)
        @worker_id
      rescue KeyError
        raise AccessRefused.new("#{@url} is no Tasker server", status: 200)
      end

      def path(verb, id = @worker_id)
        "/v1/worker/#{id}/#{verb}"
      end

      def answered
        connection = @idle_lock.synchronize { @idle.pop } || new_connection
        answer = yield connection
        @idle_lock.synchronize { @idle << connection }
        Answers.read(answer)
      end

      def post(connection, path, body, content_type: 'application/json', timeout: CALL_SECONDS)
        connection.request(:post, path, body: body, content_type: content_type, timeout: timeout)
      rescue Client::Connection::FailedError => e
        raise ServerUnavailable, e.message
      end

      def new_connection
        Client::Connection.new(@url, @headers)
      end
    end
  end
end
