# frozen_string_literal: true

module TaskerCore
  module Models
    # The results of the steps before this one, by step name.
    #
    # A result that was too large to send along is fetched when it is first asked for.
    class DependencyResultsWrapper
      # @param results [Hash, nil] step name to result, as a step's whole record or as the bare value
      # @param omitted [Array<String>] names of steps whose results are not in +results+, or null there
      # @param fetch [Proc, nil] gets the whole record of an omitted one, or nil
      def initialize(results = {}, omitted: [], fetch: nil)
        @results = (results || {}).to_h.transform_keys(&:to_s)
        @omitted = fetch ? Array(omitted).map(&:to_s) : []
        @fetch = fetch
        @wrapped = {}
        # Handlers may start threads of their own.
        @lock = Mutex.new
      end

      # @param step_name [String, Symbol]
      # @return [Object, nil] the step's whole record (+success+, +result+, +metadata+ and so on)
      def get_result(step_name)
        name = step_name.to_s
        @lock.synchronize do
          @wrapped.fetch(name) { @wrapped[name] = Types::IndifferentHash.wrap(raw(name)) }
        end
      end
      alias [] get_result

      # @param step_name [String, Symbol]
      # @return [Object, nil] what the step's handler returned
      def get_results(step_name)
        record = get_result(step_name)
        record.is_a?(Hash) && record.key?('result') ? record['result'] : record
      end

      # @return [Array<String>] the steps' names
      def keys
        @results.keys | @omitted
      end

      # @return [Boolean] whether there is a result of the step
      def key?(step_name)
        @results.key?(step_name.to_s) || @omitted.include?(step_name.to_s)
      end
      alias has_key? key?
      alias include? key?

      # Yields every step's name.
      def each_key(&block)
        keys.each(&block)
      end

      # @return [Boolean] whether there are no results
      def empty?
        keys.empty?
      end

      # @return [Hash{String => Object}] all records
      def to_h
        keys.to_h { |name| [name, get_result(name)] }
      end

      private

      def raw(name)
        @omitted.include?(name) ? @fetch.call(name) : @results[name]
      end
    end
  end
end
